// The list of recordings: one box that understands what is typed; the URL holds it.
import { ask, query } from "/console/api.js";
import { h, show, say, time, duration } from "/console/dom.js";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const AGE = /^(\d+)(m|h|d|w)$/;
const SECONDS = { m: 60, h: 3600, d: 86400, w: 604800 };

const moment = (text) => {
	const age = AGE.exec(text);
	return age ? new Date(Date.now() - age[1] * SECONDS[age[2]] * 1000).toISOString() : text;
};

// "+4930* refund site:prg tag:complaint since:2h" -> parameters of /v1/recordings; an id alone leads to its page.
// A word of digits is a number (4930* a prefix, *4711 a suffix), one with an @ a SIP Call-ID, any other a word to find.
export function understand(text) {
	const params = {};
	const words = [];
	for (const word of text.trim().split(/\s+/).filter(Boolean)) {
		const [, key, value] = /^(site|state|since|until|call-id|number|agent|team|tag|fact|longer):(.+)$/.exec(word) || [];
		if (UUID.test(word)) return { id: word.toLowerCase() };
		if (key === "since") params.from = moment(value);
		else if (key === "until") params.to = moment(value);
		else if (key === "call-id") params.call_id = value;
		else if (key === "tag" || key === "fact") (params[key] ||= []).push(value);
		else if (key === "longer") {
			const [, n, unit] = AGE.exec(value) || [];
			if (n) params.min_duration_ms = n * SECONDS[unit] * 1000;
		} else if (key) params[key] = value;
		else if (/^\d{4}-\d\d-\d\d$/.test(word)) {
			params.from = `${word}T00:00:00Z`;
			params.to = new Date(Date.parse(params.from) + 86400000).toISOString();
		} else if (/^[+\d*#]+$/.test(word)) params.number = word;
		else if (word.includes("@")) params.call_id = word;
		else words.push(word);
	}
	if (words.length) params.text = words.join(" ");
	return { params };
}

const places = (copies) =>
	[...new Set(copies.filter((c) => c.state === "verified").map((c) => c.target || c.site))].join(", ") || "none yet";

const stateClass = (r) => (r.problem || r.state === "lost" ? "at_risk" : r.pending || r.state === "capturing" ? "degraded" : "ok");

function row(r) {
	const href = `/#/recording/${r.id}`;
	const state = r.pending ? `${r.state}, pending` : r.state;
	return h("tr", { "data-href": href, onclick: (e) => e.target.closest("a") || (location.href = href) },
		h("td", {}, h("a.row", { href }, time(r.start))),
		h("td.right", {}, duration(r.duration_ms)),
		h("td", {}, r.from || "–"),
		h("td", {}, r.to || "–"),
		h("td.narrow-off", {}, `${r.site} · ${r.node}`),
		h("td.narrow-off", {}, places(r.copies)),
		h("td", {}, h(`span.tag.${stateClass(r)}`, {}, state), r.holds.length ? " ⚖ hold" : ""));
}

export async function list(text, signal) {
	const { id, params } = understand(text);
	if (id) {
		location.hash = `#/recording/${id}`;
		return;
	}
	const body = h("tbody");
	const more = h("button", { type: "button", hidden: true }, "More");
	const count = h("span.soft");
	let cursor = "";
	const page = async () => {
		const answer = await ask(`/v1/recordings${query({ ...params, limit: 50, cursor })}`, { signal });
		body.append(...answer.recordings.map(row));
		cursor = answer.cursor;
		more.hidden = !cursor;
		count.textContent = !answer.complete ? `Not complete: ${answer.why}.`
			: body.rows.length ? "" : "Nothing fits. A number may end or begin with * to mean any end or beginning.";
		say(`${body.rows.length} recordings`);
	};
	more.addEventListener("click", page);
	await page();
	show(h("h1", {}, "Recordings"), count,
		body.rows.length > 0 && h("table", {},
			h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Start"), h("th.right", { scope: "col" }, "Length"),
				h("th", { scope: "col" }, "From"), h("th", { scope: "col" }, "To"),
				h("th.narrow-off", { scope: "col" }, "Captured at"), h("th.narrow-off", { scope: "col" }, "Copies"),
				h("th", { scope: "col" }, "State"))), body),
		more,
		h("p.keys", {}, h("kbd", {}, "/"), " search  ", h("kbd", {}, "j"), " ", h("kbd", {}, "k"), " move  ", h("kbd", {}, "Enter"), " open"));
}
