// Routes, keys and the login. The part of the URL after # holds the whole state of the page:
//   #/?q=...   #/recording/ID?t=12   #/cluster   #/audit
import { ask, token, Refused } from "/console/api.js";
import { h, $, show, say } from "/console/dom.js";
import { list } from "/console/list.js";
import { recording, wireReason } from "/console/recording.js";
import { cluster } from "/console/cluster.js";
import { audit } from "/console/audit.js";

let leaving = new AbortController();
let pageKeys = {};

function where() {
	const [path, search = ""] = location.hash.replace(/^#/, "").split("?");
	const [, page = "", id = ""] = path.split("/");
	return { page, id, params: new URLSearchParams(search) };
}

function failed(e) {
	if (e.name === "AbortError") return;
	if (e instanceof Refused && e.status === 401) {
		token.clear();
		show(h("p.soft", {}, "Log in to see recordings."));
		$("login-error").textContent = "";
		if (!$("login").open) $("login").showModal();
		return;
	}
	show(h("section.card", {}, h("p.error", {}, e.message), e.next && h("p", {}, "Next: ", h("code", {}, e.next))));
	say(e.message);
}

function mark(page) {
	const name = page === "cluster" || page === "audit" ? page : "list";
	for (const a of document.querySelectorAll("[data-nav]")) {
		if (a.dataset.nav === name) a.setAttribute("aria-current", "page");
		else a.removeAttribute("aria-current");
	}
	$("leave").hidden = !token.get();
}

// The place in the recording goes into the URL without a new entry in the history.
const keepTime = (id) => (s) => history.replaceState(null, "", `#/recording/${id}?t=${Math.floor(s)}`);

async function route() {
	leaving.abort();
	leaving = new AbortController();
	pageKeys = {};
	const { signal } = leaving;
	const { page, id, params } = where();
	mark(page);
	try {
		if (page === "recording") {
			await recording(id, Number(params.get("t")) || 0, signal, (keys) => (pageKeys = keys), keepTime(id));
		} else if (page === "cluster") await cluster(signal);
		else if (page === "audit") await audit(signal);
		else {
			$("q").value = params.get("q") || "";
			await list($("q").value, signal);
		}
	} catch (e) {
		failed(e);
	}
}

async function health() {
	try {
		const s = await ask("/v1/status");
		const words = { ok: "well", degraded: "degraded", at_risk: "at risk" };
		$("health").className = `health ${s.health}`;
		$("health").textContent = `${s.cluster}: ${words[s.health] || s.health}`;
	} catch {
		$("health").className = "health at_risk";
		$("health").textContent = token.get() ? "no answer" : "";
	}
}

function moveInList(step) {
	const rows = [...document.querySelectorAll("tbody a.row")];
	const at = rows.indexOf(document.activeElement);
	rows[Math.min(Math.max(at + step, 0), rows.length - 1)]?.focus();
}

function onKey(e) {
	const typing = e.target.closest("input, textarea, dialog");
	if (e.key === "Escape" && e.target === $("q")) $("q").blur();
	if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
	const onButton = e.target.closest("button, a");
	const keys = { "/": () => $("q").select(), j: () => moveInList(1), k: () => moveInList(-1), ...pageKeys };
	if (keys[e.key] && !(e.key === " " && onButton)) {
		e.preventDefault();
		keys[e.key]();
	}
}

let typing = 0;
$("search").addEventListener("submit", (e) => e.preventDefault());
$("q").addEventListener("input", () => {
	clearTimeout(typing);
	typing = setTimeout(() => {
		const text = $("q").value.trim();
		history.replaceState(null, "", text ? `#/?q=${encodeURIComponent(text)}` : "#/");
		route();
	}, 180);
});
$("login-form").addEventListener("submit", async (e) => {
	e.preventDefault();
	token.set($("token").value.trim());
	$("token").value = "";
	try {
		await ask("/v1/status");
		$("login").close();
		route();
		health();
	} catch (error) {
		token.clear();
		$("login-error").textContent = error.message;
	}
});
$("leave").addEventListener("click", () => {
	token.clear();
	location.hash = "#/";
	route();
	health();
});
wireReason();
addEventListener("hashchange", route);
addEventListener("keydown", onKey);
setInterval(() => document.hidden || health(), 10000);
route();
health();
