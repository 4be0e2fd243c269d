// The audit log: who did what to which recording, in one hash chain.
import { ask } from "/console/api.js";
import { h, show, time } from "/console/dom.js";

export async function audit(signal) {
	const a = await ask("/v1/audit?limit=200", { signal });
	const verdict = h("p", { role: "status" });
	const verify = h("button", { type: "button" }, "Verify the chain");
	verify.addEventListener("click", async () => {
		verify.disabled = true;
		try {
			const v = await ask("/v1/audit/verify", { method: "POST", signal });
			verdict.className = "ok";
			verdict.textContent = `✓ ${v.events} events fit, one after the other, on ${v.node}`;
		} catch (e) {
			verdict.className = "error";
			verdict.textContent = e.message;
		}
		verify.disabled = false;
	});
	const link = (t) => (/^[0-9a-f-]{36}$/.test(t) ? h("a", { href: `/#/recording/${t}` }, t) : t);
	show(h("h1", {}, "Audit"), h("div.controls", {}, verify, h("span.soft", {}, `${a.total} events`)), verdict,
		h("table", {}, h("thead", {}, h("tr", {}, ["Number", "Time", "Who", "Action", "Target", "Outcome", "Reason"].map((t) => h("th", { scope: "col" }, t)))),
			h("tbody", {}, a.events.toReversed().map((e) => h("tr", {}, h("td.right", {}, e.number), h("td", {}, time(e.time)),
				h("td", {}, e.principal), h("td", {}, e.action), h("td", {}, link(e.target)), h("td", {}, e.outcome), h("td", {}, e.reason))))));
}
