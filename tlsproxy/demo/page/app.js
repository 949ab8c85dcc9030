// The page of the sample device: a live feed over a WebSocket, an event stream, a download and an upload.
// Everything that comes from the device is put in as text, never as markup.
"use strict";

const $ = (id) => document.getElementById(id);
const AGAIN_MS = 1000;

// --- certificates

function groupsOf(fingerprint) {  // as tlsproxy status and the label show it
  const groups = fingerprint.toUpperCase().match(/.{4}/g);
  return [0, 4, 8, 12].map((start) => groups.slice(start, start + 4).join(" "));
}

function drawFace(svg, fingerprint) {
  // Five columns, the right ones mirrored: people remember faces, not hex digits.
  const digits = [...fingerprint].map((digit) => parseInt(digit, 16));
  svg.style.setProperty("--hue", (digits[60] * 16 + digits[61]) * 360 / 256);
  svg.style.setProperty("--hue-2", (digits[62] * 16 + digits[63]) * 360 / 256);
  const cells = [];
  for (let row = 0; row < 5; row++) {
    for (let column = 0; column < 3; column++) {
      const digit = digits[row * 3 + column];
      if (digit < 6) continue;
      for (const x of new Set([column, 4 - column])) {
        const cell = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        for (const [name, value] of Object.entries({ x, y: row, width: 1, height: 1 })) cell.setAttribute(name, value);
        if (digit > 12) cell.setAttribute("class", "second");
        cells.push(cell);
      }
    }
  }
  svg.replaceChildren(...cells);
}

function showCertificate(card, facts) {
  const put = (name, text) => { card.querySelector("." + name).textContent = text; };
  if (!facts?.fingerprint) {
    put("subject", "not known");
    put("issuer", "no proxy tells it");
    for (const name of ["key", "until", "generation"]) put(name, "–");
    card.querySelector(".face").replaceChildren();
    card.querySelector(".print").replaceChildren();
    card.dataset.print = "";
    return;
  }
  put("generation", facts.generation ?? "–");
  put("subject", facts.subject ?? "an earlier certificate");
  put("issuer", facts.subject === undefined ? "already replaced when this page asked"
    : facts.self_signed ? "self-signed" : "issued by " + facts.issuer);
  put("key", facts.key ?? "–");
  put("until", facts.not_after ? new Date(facts.not_after.replace(" ", "T")).toLocaleDateString(undefined, { dateStyle: "long" }) : "–");
  if (card.dataset.print === facts.fingerprint) return;
  card.dataset.print = facts.fingerprint;
  drawFace(card.querySelector(".face"), facts.fingerprint);
  card.querySelector(".print").replaceChildren(...groupsOf(facts.fingerprint).map((line) => {
    const span = document.createElement("span");
    span.textContent = line;
    return span;
  }));
}

function showVerdict(state, title, words) {
  $("verdict").dataset.state = state;
  $("verdict-title").textContent = title;
  $("verdict-words").textContent = words;
  $("new").dataset.state = state;
  $("reconnect").hidden = state !== "warn";
}

const times = (count, what) => `${count} ${what}${String(count) === "1" ? "" : "s"}`;

function judge(served, fresh, why) {
  if (!served.fingerprint) {
    return showVerdict("waiting", "Nobody tells which certificate serves this page",
      "Open it through the proxy to see it.");
  }
  if (!fresh) return showVerdict("bad", "A new connection failed", why);
  if (served.fingerprint === fresh.fingerprint) {
    return showVerdict("good", "One certificate for all",
      "A new connection gets the same certificate as this one.");
  }
  showVerdict("warn", "A new certificate is in effect",
    `This connection lives on with the one it began with: it has outlived ${times(swaps, "swap")}.`);
}

// --- the live feed

let feed, opened = 0, messages = 0, swaps = 0, lastPrint = "";

function showLink(state, words) {
  $("link").dataset.state = state;
  $("link").textContent = words;
}

function countSwaps(served, fresh) {
  // The proxy numbers its generations; where it doesn't tell, count what is seen to change.
  if (!fresh) return;
  if (served.generation !== null && fresh.generation !== null) swaps = Math.max(swaps, fresh.generation - served.generation);
  else if (lastPrint && lastPrint !== fresh.fingerprint) swaps++;
  lastPrint = fresh.fingerprint;
}

function follow() {
  feed = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/feed`);
  feed.onopen = () => {
    opened = performance.now();
    messages = swaps = 0;
    lastPrint = "";
    showLink("good", "live");
  };
  feed.onmessage = ({ data }) => {
    const { number, served, new: fresh, why } = JSON.parse(data);
    if (number !== messages) showLink("bad", "a message is missing");
    messages = number + 1;
    countSwaps(served, fresh);
    showCertificate($("served"), served);
    showCertificate($("new"), fresh);
    judge(served, fresh, why);
    $("messages").textContent = times(messages.toLocaleString(), "message");
    $("swaps").textContent = swaps.toLocaleString();
  };
  feed.onclose = () => {
    opened = 0;
    showLink("bad", "connection lost");
    showVerdict("bad", "The connection to the device is lost", "Trying again each second.");
    setTimeout(follow, AGAIN_MS);
  };
}

function showUptime() {
  if (!opened) return void ($("uptime").textContent = "–");
  const s = Math.floor((performance.now() - opened) / 1000);
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(s / 3600);
  $("uptime").textContent = (hours ? `${hours}:${two(Math.floor(s / 60) % 60)}` : Math.floor(s / 60)) + ":" + two(s % 60);
}

$("reconnect").onclick = () => {
  feed.onclose = null;
  feed.close();
  follow();
};

// --- server-sent events

let events = 0, missing = 0, nextEvent = 0;
const stream = new EventSource("/api/events");
stream.onopen = () => { nextEvent = 0; };
stream.addEventListener("tick", ({ data }) => {
  const { number } = JSON.parse(data);
  missing += number - nextEvent;
  nextEvent = number + 1;
  events++;
  $("events").textContent = events.toLocaleString();
  $("gaps").textContent = missing ? `${missing} missing` : "none missing";
});

// --- transfers

const MB = (bytes) => (bytes / 1e6).toFixed(1) + " MB";

async function sha256(buffer) {
  if (!crypto.subtle) return null; // only over HTTPS or on localhost
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", buffer));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function transfer(card, run) {
  const bar = card.querySelector("progress"), outcome = card.querySelector(".outcome");
  const buttons = card.querySelectorAll("button");
  const say = (words, kind = "") => { outcome.textContent = words; outcome.className = "outcome " + kind; };
  for (const button of buttons) {
    button.onclick = async () => {
      const begun = performance.now(), before = swaps;
      buttons.forEach((one) => { one.disabled = true; });
      try {
        const { size, same } = await run(button, (done, all) => {
          bar.value = done / all;
          say(`${MB(done)} of ${MB(all)}`);
        });
        const seconds = (performance.now() - begun) / 1000;
        const during = swaps > before ? `, through ${times(swaps - before, "swap")}` : "";
        if (same) say(`${MB(size)} in ${seconds.toFixed(1)} s${during}; every byte is right`, "good");
        else say(`${MB(size)} came, and they are not the bytes that were sent`, "bad");
      } catch (error) {
        say(`failed: ${error.message}`, "bad");
      } finally {
        buttons.forEach((one) => { one.disabled = false; });
      }
    };
  }
}

transfer($("download"), async (button, progress) => {
  const reply = await fetch("/api/download" + (button.dataset.rate ? `?rate=${button.dataset.rate}` : ""));
  if (!reply.ok) throw new Error(`status ${reply.status}`);
  const all = Number(reply.headers.get("content-length")), wanted = reply.headers.get("x-sha256");
  const whole = new Uint8Array(all);
  let size = 0;
  for (const reader = reply.body.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    whole.set(value, size);
    size += value.length;
    progress(size, all);
  }
  const got = await sha256(whole);
  return { size, same: size === all && (got === null || got === wanted) };
});

transfer($("upload"), async (_button, progress) => {
  const body = new Uint8Array(20_000_000);
  for (let start = 0; start < body.length; start += 65536) crypto.getRandomValues(body.subarray(start, start + 65536));
  const wanted = await sha256(body);
  const answer = await new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/api/upload");
    request.responseType = "json";
    request.upload.onprogress = ({ loaded }) => progress(loaded, body.length);
    request.onerror = () => reject(new Error("the connection broke"));
    request.onload = () => request.status === 200 ? resolve(request.response) : reject(new Error(`status ${request.status}`));
    request.send(body);
  });
  return { size: answer.size, same: answer.size === body.length && (wanted === null || answer.sha256 === wanted) };
});

// --- facts and the line to copy

async function showFacts() {
  const facts = await (await fetch("/api/device")).json();
  document.title = $("name").textContent = facts.name;
  $("model").textContent = `${facts.model}, behind tlsproxy ${facts.firmware}`;
  $("tip").textContent = facts.tip;
  $("try").hidden = !facts.tip;
}

$("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText($("tip").textContent);
    $("copy").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren($("tip")); // where the clipboard is not allowed, it is one key more
    $("copy").textContent = "Ctrl-C";
  }
  setTimeout(() => { $("copy").textContent = "Copy"; }, 2000);
};

showFacts().catch(() => {});
follow();
setInterval(showUptime, 250);
