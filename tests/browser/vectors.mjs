// Every way in which a page can make a browser send a request to an address that is not its own. Each entry is a name and
// the body of a function that runs in the page: `url` is the address, `add` parses HTML into the document, `sub` gives an
// address of the page's own server that redirects to `url` or serves something that names it.

export const PAGE_VECTORS = {
  // Elements.
  "img": "new Image().src = url",
  "img srcset": "add(`<img srcset='${url} 1x'>`)",
  "picture": "add(`<picture><source srcset='${url}'><img></picture>`)",
  "input image": "add(`<input type=image src='${url}'>`)",
  "body background": "add(`<table background='${url}'><tr><td>x</table>`)",
  "script": "const s = document.createElement('script'); s.src = url; document.head.append(s)",
  "script module": "const s = document.createElement('script'); s.type = 'module'; s.src = url; document.head.append(s)",
  "import": "import(url).catch(() => {})",
  "stylesheet": "add(`<link rel=stylesheet href='${url}'>`)",
  "icon": "add(`<link rel=icon href='${url}'>`)",
  "manifest": "add(`<link rel=manifest href='${url}'>`)",
  "manifest with credentials": "add(`<link rel=manifest crossorigin=use-credentials href='${url}'>`)",
  "preload image": "add(`<link rel=preload as=image href='${url}'>`)",
  "preload script": "add(`<link rel=preload as=script href='${url}'>`)",
  "preload fetch": "add(`<link rel=preload as=fetch crossorigin href='${url}'>`)",
  "modulepreload": "add(`<link rel=modulepreload href='${url}'>`)",
  "prefetch": "add(`<link rel=prefetch href='${url}'>`)",
  "prerender": "add(`<link rel=prerender href='${url}'>`)",
  "dns-prefetch": "add(`<link rel=dns-prefetch href='${url}'>`)",
  "preconnect": "add(`<link rel=preconnect href='${url}'>`)",
  "speculation prefetch": "speculate({ prefetch: [{ source: 'list', urls: [url] }] })",
  "speculation prerender": "speculate({ prerender: [{ source: 'list', urls: [url] }] })",
  "iframe": "add(`<iframe src='${url}'></iframe>`)",
  "iframe sandboxed": "add(`<iframe sandbox src='${url}'></iframe>`)",
  "iframe sandboxed with scripts": "add(`<iframe sandbox='allow-scripts allow-forms' src='${url}'></iframe>`)",
  "iframe credentialless": "add(`<iframe credentialless src='${url}'></iframe>`)",
  "object": "add(`<object data='${url}'></object>`)",
  "object svg": "add(`<object type=image/svg+xml data='${url}'></object>`)",
  "embed": "add(`<embed src='${url}'>`)",
  "video": "add(`<video src='${url}' preload=auto></video>`)",
  "video poster": "add(`<video poster='${url}'></video>`)",
  "audio": "add(`<audio src='${url}' preload=auto></audio>`)",
  "video source": "add(`<video preload=auto><source src='${url}'></video>`)",
  "track": "add(`<video src='data:video/mp4,' crossorigin><track default src='${url}'></video>`).querySelector('track').track.mode = 'showing'",
  "svg image": "add(`<svg><image href='${url}' width=9 height=9 /></svg>`)",
  "svg feImage": "add(`<svg><filter id=f><feImage href='${url}'/></filter><rect filter='url(#f)' width=9 height=9 /></svg>`)",

  // Style sheets.
  "css background": "add(`<div style=\"background:url('${url}')\">x</div>`)",
  "css image-set": "add(`<div style=\"background:image-set(url('${url}') 1x)\">x</div>`)",
  "css list-style": "add(`<ul style=\"list-style-image:url('${url}')\"><li>x</ul>`)",
  "css content": "add(`<style>#c::before{content:url('${url}')}</style><i id=c></i>`)",
  "css import": "add(`<style>@import '${url}';</style>`)",
  "css font": "add(`<style>@font-face{font-family:f1;src:url('${url}')}</style><p style='font-family:f1'>x</p>`)",
  "css mask": "add(`<div style=\"mask-image:url('${url}')\">x</div>`)",
  "font face": "document.fonts.add(new FontFace('f2', `url('${url}')`)); document.fonts.load('9px f2').catch(() => {})",

  // Scripts.
  "fetch": "fetch(url).catch(() => {})",
  "fetch no-cors": "fetch(url, { mode: 'no-cors' }).catch(() => {})",
  "fetch no-cors with credentials": "fetch(url, { mode: 'no-cors', credentials: 'include' }).catch(() => {})",
  "fetch no-cors post": "fetch(url, { method: 'POST', mode: 'no-cors', body: 'x' }).catch(() => {})",
  "fetch no-referrer": "fetch(url, { mode: 'no-cors', referrerPolicy: 'no-referrer' }).catch(() => {})",
  "fetch keepalive": "fetch(url, { method: 'POST', mode: 'no-cors', keepalive: true, body: 'x' }).catch(() => {})",
  "fetch put": "fetch(url, { method: 'PUT', body: 'x' }).catch(() => {})",
  "fetch with our header": "fetch(url, { headers: { 'Marketgate-Account': 'default' } }).catch(() => {})",
  "fetch private": "fetch(url, { targetAddressSpace: 'loopback' }).catch(() => {})",
  "fetch later": "fetchLater(url, { activateAfter: 0 })",
  "xhr": "const x = new XMLHttpRequest(); x.open('GET', url); x.send()",
  "xhr synchronous": "const x = new XMLHttpRequest(); x.open('GET', url, false); try { x.send() } catch {}",
  "xhr post": "const x = new XMLHttpRequest(); x.open('POST', url); x.send('x')",
  "beacon": "navigator.sendBeacon(url, 'x')",
  "event source": "new EventSource(url)",
  "web socket": "new WebSocket(url.replace('http', 'ws'))",
  "worker": "worker(`importScripts('${url}')`)",
  "worker fetch": "worker(`fetch('${url}', { mode: 'no-cors' })`)",
  "worker module": "worker(`import '${url}'`, { type: 'module' })",
  "shared worker": "new SharedWorker(own(`fetch('${url}', { mode: 'no-cors' })`))",
  "audio worklet": "new AudioContext().audioWorklet.addModule(url).catch(() => {})",
  "blob page": "add(`<iframe src='${own(`<img src='${url}'>`, 'text/html')}'></iframe>`)",
  "data page": "add(`<iframe></iframe>`).src = `data:text/html,<img src='${url}'>`",
  "srcdoc page": "add(`<iframe></iframe>`).srcdoc = `<img src='${url}'>`",
  "sandboxed page": "const f = add(`<iframe sandbox=allow-scripts></iframe>`); f.srcdoc = `<script>fetch('${url}', {mode:'no-cors'})<\\/script>`",
  "data page that posts": "add(`<iframe></iframe>`).src = `data:text/html,<form method=post action='${url}'></form><script>document.forms[0].submit()<\\/script>`",

  // Navigations.
  "form get": "form(url, 'get')",
  "form post": "form(url, 'post')",
  "form post text": "form(url, 'post', 'text/plain')",
  "form post multipart": "form(url, 'post', 'multipart/form-data')",
  "form no-referrer": "add(`<meta name=referrer content=no-referrer>`); form(url, 'post')",
  "frame by script": "const f = add(`<iframe></iframe>`); f.contentWindow.location = url",
  "frame by meta refresh": "add(`<iframe></iframe>`).src = sub('refresh')",
  "frame by header refresh": "add(`<iframe></iframe>`).src = sub('header-refresh')",
  "window": "window.open(url)",
  "window noopener": "window.open(url, '_blank', 'noopener,noreferrer')",
  "link": "const a = add(`<a target=_blank href='${url}'>x</a>`); a.click()",
  "link noreferrer": "const a = add(`<a target=_blank rel='noopener noreferrer' href='${url}'>x</a>`); a.click()",
  "link ping": "const a = add(`<a target=_blank ping='${url}' href='${sub('empty')}'>x</a>`); a.click()",
  "link download": "const a = add(`<a download href='${url}'>x</a>`); a.click()",

  // Redirects, and what other answers of the page's server name.
  "img 302": "new Image().src = sub('302')",
  "img 307": "new Image().src = sub('307')",
  "frame 302": "add(`<iframe></iframe>`).src = sub('302')",
  "frame 307": "add(`<iframe></iframe>`).src = sub('307')",
  "form post 307": "form(sub('307'), 'post')",
  "form post 308": "form(sub('308'), 'post')",
  "fetch 302": "fetch(sub('302'), { mode: 'no-cors' }).catch(() => {})",
  "fetch post 307": "fetch(sub('307'), { method: 'POST', mode: 'no-cors', body: 'x' }).catch(() => {})",
  "window 302": "window.open(sub('302'))",
  "web socket 302": "new WebSocket(sub('302').replace('http', 'ws'))",
  "policy report": "add(`<iframe></iframe>`).src = sub('report')",
  "link header": "add(`<iframe></iframe>`).src = sub('link')",
  "style sheet processing instruction": "add(`<iframe></iframe>`).src = sub('xslt')",
  "service worker": "serviceWorker(url)",
};

/** Navigations that begin outside of any page, as a link in a mail program or `xdg-open` does: what the foreign server
    leads on by. */
export const LED_VECTORS = ["302", "303", "307", "308", "refresh", "header-refresh", "location", "replace", "auto-post", "auto-link"];

/** The page that tries these vectors; `lead(kind, url)` is an address of its own server that leads on to `url`. */
export function page(target, names) {
  const entries = names.map((name) => [name, PAGE_VECTORS[name]]).map(([name, body]) => `${JSON.stringify(name)}: (url, sub) => { ${body} }`);
  return `<!doctype html><title>foreign</title><body><script>
const add = (html) => { const t = document.createElement("div"); t.innerHTML = html; document.body.append(t); return t.firstElementChild; };
const own = (text, type = "text/javascript") => URL.createObjectURL(new Blob([text], { type }));
const worker = (text, options) => new Worker(own(text), options);
const speculate = (rules) => { const s = document.createElement("script"); s.type = "speculationrules"; s.textContent = JSON.stringify(rules); document.head.append(s); };
const form = (action, method, enctype = "application/x-www-form-urlencoded") => {
  const name = "frame" + Math.random();
  add(\`<iframe name='\${name}'></iframe>\`);
  const f = add(\`<form target='\${name}' action='\${action}' method='\${method}' enctype='\${enctype}'><input name=a value=b></form>\`);
  f.submit();
};
const serviceWorker = async (url) => {
  const registration = await navigator.serviceWorker.register("/service-worker.js?url=" + encodeURIComponent(url));
  await navigator.serviceWorker.ready;
  registration.active.postMessage(url);
};
const lead = (kind, url) => \`/lead/\${kind}?url=\${encodeURIComponent(url)}\`;
const vectors = { ${entries.join(",\n")} };
for (const [name, run] of Object.entries(vectors)) {
  const url = ${JSON.stringify(target)} + encodeURIComponent(name);
  try { Promise.resolve(run(url, (kind) => new URL(lead(kind, url), location).href)).catch(() => {}); } catch {}
}
</script>`;
}
