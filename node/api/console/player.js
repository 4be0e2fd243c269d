// Two channels, drawn from peaks that the node made; the sound itself streams with ranges.
import { ask } from "/console/api.js";
import { h, duration, say } from "/console/dom.js";

const PEAKS = 900;

function draw(canvas, channels) {
	const scale = window.devicePixelRatio || 1;
	const { width, height } = canvas.getBoundingClientRect();
	canvas.width = width * scale;
	canvas.height = height * scale;
	const pen = canvas.getContext("2d");
	const style = getComputedStyle(document.documentElement);
	pen.scale(scale, scale);
	channels.forEach((peaks, c) => {
		const middle = (height / 4) * (2 * c + 1);
		const half = height / 4 - 6;
		const count = peaks.length / 2;
		pen.fillStyle = style.getPropertyValue(c === 0 ? "--caller" : "--callee");
		for (let i = 0; i < count; i++) {
			const low = peaks[2 * i] / 32768;
			const high = peaks[2 * i + 1] / 32768;
			// Speech is mostly quiet: the square root shows it without hiding what is loud.
			const up = Math.sqrt(Math.max(high, 0)) * half;
			const down = Math.sqrt(Math.max(-low, 0)) * half;
			pen.fillRect((i * width) / count, middle - up, Math.max(width / count - 0.4, 0.6), Math.max(up + down, 1));
		}
	});
}

// `opened` is the ticket; calls `onTime` with seconds as it plays.
export async function player(recording, ticket, signal, start, onTime) {
	const base = `/v1/recordings/${recording.id}`;
	const peaks = await ask(`${base}/peaks?count=${PEAKS}&ticket=${ticket}`, { signal });
	const total = peaks.duration_ms / 1000;
	const sound = (losses) => `${base}/audio?ticket=${ticket}&losses=${losses}`;
	const audio = h("audio", { preload: "metadata", src: sound("silence") });
	const canvas = h("canvas");
	const head = h("div.head");
	const clock = h("span.time", {}, `00:00 / ${duration(peaks.duration_ms)}`);
	const play = h("button.main", { type: "button", "aria-pressed": "false" }, "▶ Play");
	const speed = h("button", { type: "button", title: "Speed" }, "1×");
	const wave = h("div.wave", {
		tabindex: "0", role: "slider", "aria-label": "Position", "aria-valuemin": "0", "aria-valuemax": String(Math.round(total)),
	}, canvas, head,
		h("span.who.caller", {}, recording.from || "caller"),
		h("span.who.callee", {}, recording.to || "callee"));

	const seek = (s) => (audio.currentTime = Math.min(Math.max(s, 0), total));
	const toggle = () => (audio.paused ? audio.play().catch((e) => say(e.message)) : audio.pause());
	const move = () => {
		const at = audio.currentTime;
		head.style.left = `${total ? (at / total) * 100 : 0}%`;
		clock.textContent = `${duration(at * 1000)} / ${duration(peaks.duration_ms)}`;
		wave.setAttribute("aria-valuenow", String(Math.round(at)));
		wave.setAttribute("aria-valuetext", duration(at * 1000));
		onTime(at);
	};
	const rate = () => {
		const rates = [1, 1.25, 1.5, 2, 0.75];
		audio.playbackRate = rates[(rates.indexOf(audio.playbackRate) + 1) % rates.length];
		speed.textContent = `${audio.playbackRate}×`;
	};
	const conceal = h("input", { type: "checkbox" });
	conceal.addEventListener("change", () => {
		const { currentTime, paused, playbackRate } = audio;
		audio.src = sound(conceal.checked ? "conceal" : "silence");
		audio.addEventListener("loadedmetadata", () => {
			audio.playbackRate = playbackRate;
			seek(currentTime);
			return paused || toggle();
		}, { once: true });
	});
	play.addEventListener("click", toggle);
	speed.addEventListener("click", rate);
	wave.addEventListener("click", (e) => {
		const box = wave.getBoundingClientRect();
		seek(((e.clientX - box.left) / box.width) * total);
	});
	audio.addEventListener("timeupdate", move);
	audio.addEventListener("seeked", move);
	audio.addEventListener("loadedmetadata", () => start && seek(start), { once: true });
	for (const event of ["play", "pause"]) {
		audio.addEventListener(event, () => {
			play.textContent = audio.paused ? "▶ Play" : "❚❚ Pause";
			play.setAttribute("aria-pressed", String(!audio.paused));
		});
	}
	audio.addEventListener("error", () => say("The sound cannot be loaded."));
	const repaint = () => canvas.isConnected && draw(canvas, peaks.channels);
	new ResizeObserver(repaint).observe(wave);
	matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint, { signal });
	signal.addEventListener("abort", () => audio.pause());

	const element = h("div.player", {}, wave,
		h("div.controls", {}, play,
			h("button", { type: "button", onclick: () => seek(audio.currentTime - 5) }, "−5 s"),
			h("button", { type: "button", onclick: () => seek(audio.currentTime + 5) }, "+5 s"), speed,
			h("label", { title: "What was lost on its way is made up: no evidence then" }, conceal, " Conceal losses"), clock),
		peaks.problem && h("p.error", {}, `Incomplete: ${peaks.problem}`),
		h("p.hint", {}, "Space plays, ← and → move 5 s, S changes the speed."), audio);
	const keys = {
		" ": toggle,
		ArrowLeft: () => seek(audio.currentTime - 5),
		ArrowRight: () => seek(audio.currentTime + 5),
		s: rate,
	};
	return { element, keys };
}
