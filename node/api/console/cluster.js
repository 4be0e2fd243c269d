// The cluster as a map: sites, their nodes, what each lacks; and what is not well.
import { ask } from "/console/api.js";
import { h, show, ago, bytes, level } from "/console/dom.js";

function node(n) {
	const state = n.reachable && n.state === "active" ? "ok" : n.state === "joining" ? "degraded" : "at_risk";
	return h("div.node", {},
		h(`span.dot.${state}`, { "aria-hidden": "true" }),
		h("div", {}, h("strong", {}, n.name), n.leader ? " · leader" : "", h("br"),
			h("span.soft", {}, `${n.role}, ${n.reachable ? n.state : "no answer"}, ${n.live_calls ?? "–"} live calls, ` +
				`${n.drops ?? "–"} drops, ${bytes(n.disk_free_bytes)} free, version ${n.version || "–"}`)));
}

const site = (s, nodes) => h("section.site", { "aria-label": `Site ${s.name}` },
	h("h2", {}, s.name, h("span", { class: s.pending_segments ? "degraded" : "ok" },
		s.pending_segments ? `lacks ${s.pending_segments} segments, ${ago(s.lag_ms)} behind` : "complete")),
	nodes.filter((n) => n.site === s.name).map(node));

const lines = (titles, rows) => h("table", {},
	h("thead", {}, h("tr", {}, titles.map((t) => h("th", { scope: "col" }, t)))),
	h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((c) => h("td", {}, c))))));

export async function cluster(signal) {
	const s = await ask("/v1/status", { signal });
	show(h("h1", {}, `Cluster ${s.cluster} `, level(s.health)),
		h("p.soft", {}, `${s.quorum.reachable} of ${s.quorum.voters} voters, leader ${s.leader || "none"}, term ${s.term}, ` +
			`${s.recordings.total} recordings (${s.recordings.capturing} live), ${s.audit.events} audit events`),
		h("div.map", {}, s.sites.map((one) => site(one, s.nodes))),
		h("h2", {}, "Problems and notes"),
		s.codes.length
			? lines(["Code", "Node", "What", "Next"], s.codes.map((c) => [h(`span.tag.${c.level === "note" ? "soft" : c.level}`, {}, c.code), c.node || "", c.detail, h("code", {}, c.next)]))
			: h("p", {}, "None."),
		h("h2", {}, "Losses that are survived now"),
		lines(["Loss of", "Survived", "Why"], s.survives.map((l) => [l.loss, l.survives ? "yes" : h("strong.at_risk", {}, "no"), l.why])));
	return s;
}
