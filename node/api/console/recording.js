// One recording: hear it, and see what can be said of it and why.
import { ask } from "/console/api.js";
import { h, $, show, say, time, duration, bytes } from "/console/dom.js";
import { player } from "/console/player.js";

let reasonAnswer = null;

// A dialog, as a promise of the reason, or null.
function askReason() {
	const dialog = $("reason");
	$("why").value = sessionStorage.getItem("evertape.reason") || "";
	dialog.showModal();
	return new Promise((resolve) => {
		reasonAnswer = resolve;
	});
}

export function wireReason() {
	$("reason-form").addEventListener("submit", () => {
		sessionStorage.setItem("evertape.reason", $("why").value);
		reasonAnswer?.($("why").value);
		reasonAnswer = null;
	});
	const cancel = () => {
		reasonAnswer?.(null);
		reasonAnswer = null;
		$("reason").open && $("reason").close();
	};
	$("reason-cancel").addEventListener("click", cancel);
	$("reason").addEventListener("cancel", cancel);
}

function evidence(r) {
	const good = r.copies.filter((c) => c.state === "verified");
	const bad = r.copies.filter((c) => c.state === "bad");
	const sites = [...new Set(good.filter((c) => c.site).map((c) => c.site))];
	const targets = [...new Set(good.filter((c) => c.target).map((c) => c.target))];
	const last = good.map((c) => c.verified_at).filter(Boolean).sort().pop();
	const lost = r.streams.reduce((n, s) => n + s.lost, 0);
	const packets = r.streams.reduce((n, s) => n + s.packets, 0);
	const sealed = r.segments.length > 0 && r.segments.every((s) => s.root);
	const item = (kind, text, title) => h(`li.${kind}`, { title }, text);
	return h("ul.evidence", { "aria-label": "Evidence" },
		item("yes", `captured at ${r.site} by ${r.node}`),
		item(lost ? "no" : "yes", lost ? `${lost} of ${packets} packets lost` : `all ${packets} packets`),
		item(sealed ? "yes" : "no", sealed ? "sealed, Merkle root committed" : "not sealed yet"),
		item(r.pending ? "no" : "yes", r.pending ? "pending: not committed" : "in the catalogue", r.opened_index ? `log index ${r.opened_index}` : ""),
		item(sites.length > 1 ? "yes" : "no", sites.length ? `copies at ${sites.join(", ")}` : "no copy at a site"),
		item(targets.length ? "yes" : "no", targets.length ? `archived in ${targets.join(", ")}` : "not archived"),
		last && item("yes", `verified ${time(last)}`),
		bad.length > 0 && item("wrong", `${bad.length} bad copies`),
		r.gaps.map((g) => item("no", `gap ${duration(Date.parse(g.to) - Date.parse(g.from))}: ${g.cause}`)),
		r.holds.map((hold) => item("yes", `hold ${hold.name}`)));
}

const facts = (pairs) => h("dl", {}, pairs.filter(([, v]) => v).map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)]));

const table = (titles, rows) => h("table", {},
	h("thead", {}, h("tr", {}, titles.map((t) => h("th", { scope: "col" }, t)))),
	h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((c) => h("td", {}, c))))));

// What others told of it: agents of the time, tags, notes, external facts.
function toldParts(r) {
	const rows = r.facts.map((f) => [f.key, String(f.value), f.source || f.set, f.by, time(f.told)]);
	return [
		(r.agents.length > 0 || r.tags.length > 0) && h("section.card", {}, facts([
			["Agents", r.agents.map((a) => `${a.name || a.id} (${a.party}${a.team ? `, ${a.team}` : ""})`).join("; ")],
			["Tags", r.tags.map((t) => t.name).join(", ")]])),
		rows.length > 0 && h("h2", {}, "Told"),
		rows.length > 0 && table(["Key", "Value", "Source", "By", "Told"], rows),
		r.notes.length > 0 && h("h2", {}, "Notes"),
		r.notes.length > 0 && table(["Note", "At", "By", "Told"], r.notes.map((n) => [n.text, time(n.at), n.by, time(n.told)])),
	];
}

function parts(r) {
	return [
		h("h2", {}, "Facts"),
		h("section.card", {}, facts([
			["Id", h("code", {}, r.id)], ["Call", h("code", {}, r.call || "")], ["Start", time(r.start)],
			["Answered", r.answered && time(r.answered)], ["End", r.end && time(r.end)], ["From", r.from_uri || r.from],
			["To", r.to_uri || r.to], ["Call state", r.call_state], ["SIP Call-ID", r.sip_call_id], ["Rule", r.rule], ["Problem", r.problem]])),
		...toldParts(r),
		h("h2", {}, "Streams"),
		table(["SSRC", "From", "To", "Codec", "Packets", "Lost", "Late"],
			r.streams.map((s) => [h("code", {}, s.ssrc), s.src, s.dst, s.codec || "unknown", s.packets, s.lost, s.late])),
		h("h2", {}, "Copies"),
		table(["Segment", "Where", "State", "Verified", "Size"],
			r.copies.map((c) => [c.segment, c.target ? `archive ${c.target}` : `${c.node} (${c.site})`, c.state, time(c.verified_at), bytes(c.size_bytes)])),
	];
}

export async function recording(id, start, signal, setKeys, setTime) {
	const r = await ask(`/v1/recordings/${id}`, { signal });
	const stage = h("div");
	const open = h("button.main", { type: "button" }, "▶ Hear it");
	const verify = h("button", { type: "button" }, "Verify this node's copies");
	const verdict = h("p", { role: "status" });
	stage.append(h("div.controls", {}, open, verify), verdict);
	open.addEventListener("click", async () => {
		const reason = await askReason();
		if (!reason) return;
		open.disabled = true;
		try {
			const { ticket } = await ask(`/v1/recordings/${id}/ticket`, { method: "POST", body: { reason }, signal });
			const { element, keys } = await player(r, ticket, signal, start, setTime);
			stage.replaceChildren(element);
			setKeys(keys);
			element.querySelector("button").focus();
		} catch (e) {
			verdict.className = "error";
			verdict.textContent = e.next ? `${e.message} (${e.next})` : e.message;
			open.disabled = false;
		}
	});
	verify.addEventListener("click", async () => {
		verify.disabled = true;
		verdict.textContent = "Reading every byte …";
		try {
			const v = await ask(`/v1/recordings/${id}/verify`, { method: "POST", signal });
			verdict.className = v.result === "ok" ? "ok" : "error";
			verdict.textContent = v.result === "ok" ? `✓ every byte on ${v.node} is what was recorded` : v.why;
		} catch (e) {
			verdict.className = "error";
			verdict.textContent = e.message;
		}
		verify.disabled = false;
	});
	setKeys({ " ": () => open.isConnected && open.click() });
	show(h("p", {}, h("a", { href: "/#/" }, "← Recordings")),
		h("h1", {}, `${r.from || "unknown"} → ${r.to || "unknown"}`, " ", h("span.soft", {}, `${time(r.start)} · ${duration(r.duration_ms)}`)),
		h("section.card", { "aria-label": "Player" }, stage, evidence(r)), ...parts(r));
	say(`Recording of ${r.from} to ${r.to}`);
}
