const present = (children) => children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false);

// Elements without markup from strings: text from a call can never become HTML.
export function h(name, attributes = {}, ...children) {
	const [tag, ...classes] = name.split(".");
	const element = document.createElement(tag);
	if (classes.length) element.className = classes.join(" ");
	for (const [key, value] of Object.entries(attributes)) {
		if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
		else if (value === true) element.setAttribute(key, "");
		else if (value !== false && value !== undefined && value !== null) element.setAttribute(key, value);
	}
	element.append(...present(children));
	return element;
}

export const $ = (id) => document.getElementById(id);

export function show(...children) {
	$("main").replaceChildren(...present(children));
}

export function say(text) {
	$("say").textContent = text;
}

export const time = (text) =>
	text ? new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" }).format(new Date(text)) : "–";

export function duration(ms) {
	if (ms === null || ms === undefined) return "live";
	const s = Math.round(ms / 1000);
	const two = (n) => String(n).padStart(2, "0");
	const short = `${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
	return s >= 3600 ? `${Math.floor(s / 3600)}:${short}` : short;
}

export function bytes(n) {
	if (typeof n !== "number") return "–";
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let i = 0;
	while (n >= 1024 && i < units.length - 1) {
		n /= 1024;
		i++;
	}
	return `${i && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

export function ago(ms) {
	if (typeof ms !== "number") return "–";
	if (ms < 1000) return "none";
	const s = Math.floor(ms / 1000);
	if (s < 60) return `${s} s`;
	return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h`;
}

export const level = (word) => h(`span.tag.${word}`, {}, { ok: "well", degraded: "degraded", at_risk: "at risk" }[word] || word);
