// Talking to the node that served this page. The token lives in sessionStorage: it ends with the tab.
const KEY = "evertape.token";

export class Refused extends Error {
	constructor(status, body) {
		super(body.why || `HTTP status ${status}`);
		this.status = status;
		this.code = body.code || "";
		this.next = body.next || "";
	}
}

export const token = {
	get: () => sessionStorage.getItem(KEY) || "",
	set: (text) => sessionStorage.setItem(KEY, text),
	clear: () => sessionStorage.removeItem(KEY),
};

export async function ask(path, { method = "GET", body, signal } = {}) {
	const headers = { Accept: "application/json" };
	if (token.get()) headers.Authorization = `Bearer ${token.get()}`;
	if (body) headers["Content-Type"] = "application/json";
	const answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body), cache: "no-store" });
	const text = await answer.text();
	let data = {};
	try {
		data = JSON.parse(text);
	} catch {
		data = { why: text.slice(0, 200) };
	}
	if (!answer.ok) throw new Refused(answer.status, data);
	return data;
}

export const query = (params) => {
	const parts = Object.entries(params).filter(([, v]) => v !== undefined && v !== "");
	const pairs = parts.flatMap(([k, v]) => [v].flat().map((one) => `${k}=${encodeURIComponent(one)}`));
	return pairs.length ? `?${pairs.join("&")}` : "";
};
