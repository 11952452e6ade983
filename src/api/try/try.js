/**
 * The page to try a call. It shows what the SDK tells, in plain words, and holds no key: a token opens one call.
 *
 * The page keeps the token for this tab while the call lives, so that a reload comes back to it. It is used up by
 * then and opens nothing else.
 */

import { RevDeskRoom, RevDeskRTC } from "./revdesk-webrtc.js";

const $ = (id) => document.getElementById(id);
const KEPT = "try";
const LEVEL_MS = 80;
const HISTORY_S = 120;
/** A telephone's loudness, from a whisper to a shout, in decibels below full scale. */
const QUIET_DB = -55;

const ENDS = {
  hangup: "The call is over.",
  user_hangup: "You hung up before anybody answered.",
  api_hangup: "Your server ended the call.",
  destination_no_answer: "Nobody answered.",
  destination_busy: "The number is busy.",
  destination_declined: "The call was declined.",
  destination_unreachable: "The number cannot be reached.",
  destination_failed: "The network could not put the call through.",
  destination_not_allowed: "Your organization does not allow this number.",
  caller_id_not_verified: "The number to show is no longer your organization’s.",
  concurrency_limit: "Too many calls at once for your organization.",
  spend_limit_exceeded: "Today’s spending limit is reached.",
  spend_limit: "The call ended because the spending limit was reached.",
  max_duration: "The call reached its longest duration.",
  media_timeout: "The call ended because no sound came through any more.",
  no_common_codec: "The other side speaks no audio format that telephones share.",
  leg_lost: "The other side went away without a word.",
  connection_failed: "The call never got a path for its sound.",
  connection_lost: "The connection was lost and could not be restored in time.",
};
/** The ends that are nobody's fault. */
const FINE = ["hangup", "user_hangup", "api_hangup", "destination_no_answer", "destination_busy", "destination_declined", "max_duration"];

let leg;
let phase = "idle";
let number = "";
let answeredAt = 0;
let history = [];
let before;
let fault;

function show(next, headline, subline = "") {
  phase = next;
  document.body.dataset.phase = next;
  $("headline").textContent = headline;
  $("subline").textContent = subline;
  const live = ["connecting", "ringing", "talking", "restoring"].includes(next);
  $("setup").hidden = next !== "idle";
  $("live").hidden = !live;
  $("over").hidden = next !== "ended" && next !== "failed";
  $("clock").hidden = answeredAt === 0;
  document.title = `${headline} · revbridge`;
}

function log(text) {
  const line = document.createElement("p");
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString([], { hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const words = document.createElement("span");
  words.textContent = text;
  line.append(time, words);
  $("log").append(line);
  while ($("log").childElementCount > 100) $("log").firstElementChild.remove();
  $("log").scrollTop = $("log").scrollHeight;
}

function trouble(error) {
  const box = $("trouble");
  box.hidden = !error;
  box.textContent = error?.message ?? "";
  if (!error?.code) return;
  const code = document.createElement("code");
  const wait = error.retryAfterSeconds === undefined ? "" : `, again in ${error.retryAfterSeconds} s`;
  code.textContent = `${error.code}${wait}${error.requestId ? `, request ${error.requestId}` : ""}`;
  box.append(code);
}

function wrong(field, text) {
  $(field).setAttribute("aria-invalid", String(text !== ""));
  $(`${field}-error`).hidden = text === "";
  $(`${field}-error`).textContent = text;
  return text !== "";
}

function chosenPath() {
  return document.querySelector("input[name=path]:checked").value;
}

function choose(path) {
  document.querySelector(`input[name=path][value=${path}]`).checked = true;
  for (const part of document.querySelectorAll("[data-path]")) part.hidden = part.dataset.path !== path;
  $("go-text").textContent = path === "dial" ? "Call" : "Join";
  const what = path === "dial" ? "webrtc-token" : "room-token";
  $("recipe").textContent = [
    `curl -s ${base()}v1/${what} \\`,
    `  -H "Authorization: Bearer $REVBRIDGE_KEY" \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d '{"from_number": "+12025550100", "to_number": "+13035550123"}'`,
  ].join("\n");
}

function base() {
  return new URL(".", location.href).href;
}

/** Takes the server's whole answer apart, when that is what was pasted. */
function unpack(text) {
  let answer;
  try {
    answer = JSON.parse(text);
    answer = answer.data ?? answer;
  } catch {
    return false;
  }
  if (typeof answer?.token !== "string") return false;
  $("token").value = answer.token;
  $("number").value = answer.to_number ?? "";
  $("room").value = answer.room_url ?? "";
  choose(answer.room_url ? "join" : "dial");
  return true;
}

function checkToken() {
  const token = $("token").value.trim();
  if (/rvk_/.test(token)) {
    // Gone before anybody looks over a shoulder.
    $("token").value = "";
    return wrong("token", "That is an API key. Keep it on your server, and paste a token (rvw_…) that the server got with it. If others could see this screen, replace the key.");
  }
  if (token === "") return wrong("token", "A token is needed: rvw_…, from your server.");
  return wrong("token", /^rvw_[\x21-\x7e]+$/.test(token) ? "" : "A token begins with rvw_ and has no spaces.");
}

function checkAll() {
  const path = chosenPath();
  const faults = [checkToken() && "token"];
  if (path === "join") {
    let text = "";
    try {
      const url = new URL($("room").value.trim(), base());
      if ($("room").value.trim() === "") text = "The room’s URL is needed: room_url in the server’s answer.";
      else if (url.origin !== location.origin) text = `The room is on another server. Open that server’s own page: ${url.origin}/try`;
    } catch {
      text = "This is no URL.";
    }
    faults.push(wrong("room", text) && "room");
  } else {
    const given = $("number").value.trim();
    const text = given === "" || /^\+[1-9]\d{1,14}$/.test(given) ? "" : "A number is + and 2 to 15 digits, without spaces: +13035550123";
    faults.push(wrong("number", text) && "number");
  }
  const first = faults.find(Boolean);
  if (first) $(first).focus();
  return first === undefined;
}

function wanted() {
  return { path: chosenPath(), token: $("token").value.trim(), room: $("room").value.trim(), number: $("number").value.trim() };
}

async function start(want, resumed) {
  trouble();
  fault = undefined;
  answeredAt = resumed ? (want.answeredAt ?? 0) : 0;
  history = [];
  before = undefined;
  number = want.number;
  figures();
  const options = { token: want.token };
  try {
    leg = want.path === "dial" ? new RevDeskRTC({ ...options, url: base() }) : new RevDeskRoom({ ...options, roomUrl: new URL(want.room, base()).href });
  } catch (error) {
    trouble(error);
    return;
  }
  if ($("device").value !== "default") await leg.setInputDevice($("device").value);
  listen(leg);
  window.leg = leg;
  show("connecting", resumed ? "Coming back to your call" : "Connecting", "The browser may ask for your microphone.");
  if (!resumed) $("hangup").focus();
  try {
    await leg.connect();
    keep({ ...want, answeredAt });
    await devices();
    if (want.path === "dial" && !resumed) {
      log("The sound has a path. Dialling.");
      await leg.dial(want.number || undefined);
    } else if (!resumed) {
      log("You are in the room. The server rings the number.");
    }
  } catch (error) {
    if (error.code === "canceled") return;
    if (leg.state === "idle") rest(error);
    else if (leg.state !== "ended") {
      fault = error;
      trouble(error);
      await leg.hangup().catch(() => undefined);
    }
  }
}

function keep(want) {
  sessionStorage.setItem(KEPT, JSON.stringify(want));
}

function kept() {
  return JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
}

/** Nothing has reached the server: back to the form, with what was typed. */
function rest(error) {
  sessionStorage.removeItem(KEPT);
  leg = undefined;
  show("idle", "That did not work yet", "Your entries are still here.");
  trouble(error);
  $("token").focus();
}

function listen(own) {
  const name = () => number || "The number";
  const on = (event, listener) => own.on(event, (detail) => own === leg && listener(detail));
  on("connecting", () => log("Opening your microphone and a path for the sound."));
  on("ringing", ({ earlyMedia }) => {
    show("ringing", `Ringing ${number || "the number"}`, earlyMedia ? "You hear the other network." : "Waiting for somebody to answer.");
    log(earlyMedia ? "The other network plays its own sounds." : `${name()} is ringing.`);
  });
  on("accept", () => {
    answeredAt ||= Date.now();
    keep({ ...kept(), answeredAt });
    show("talking", "You are talking", number ? `with ${number}` : "");
    log("Answered. You are connected.");
  });
  on("reconnecting", ({ reason }) => {
    if (phase !== "connecting") show("restoring", "One moment", "The connection broke. The other party is still there; it is being restored.");
    log({ page: "The page was loaded again: coming back to the call.", network: "Your network changed: finding a new path." }[reason] ?? "The sound broke off: finding a new path.");
  });
  on("reconnected", () => {
    log("The sound is back.");
    resume(own);
  });
  on("warning", ({ name: what, direction, active, value }) => log(warning(what, direction, active, value)));
  on("quality", ({ mos, rtt_ms }) => {
    $("mos").textContent = Number.isFinite(mos) ? `${mos.toFixed(1)} of 4.5` : "–";
    if (Number.isFinite(rtt_ms)) $("rtt").textContent = `${Math.round(rtt_ms)} ms`;
    if (Number.isFinite(mos)) history.push({ at: Date.now(), mos });
  });
  on("error", (error) => {
    fault = error;
    trouble(error);
    log(error.message);
  });
  on("disconnect", ended);
}

function resume(own) {
  if (own.state === "answered") show("talking", "You are talking", number ? `with ${number}` : "");
  else if (own.state === "ringing" || own.state === "early_media") show("ringing", `Ringing ${number || "the number"}`);
  else show("connecting", "Connected", "Waiting for the number to ring.");
  $("mute").setAttribute("aria-pressed", String(own.muted));
}

function ended({ reason }) {
  sessionStorage.removeItem(KEPT);
  const length = answeredAt ? ` It lasted ${clock(Date.now() - answeredAt)}.` : "";
  const words = fault && reason.startsWith("connection_") ? ENDS[reason] : (ENDS[reason] ?? `The call ended: ${reason.replaceAll("_", " ")}.`);
  const fine = FINE.includes(reason) && !fault;
  show(fine ? "ended" : "failed", words.replace(/\.$/, ""), length.trim() || (fine ? "" : `The server calls it ${reason}.`));
  log(words + length);
  if (fine) trouble();
  for (const id of ["near", "far"]) level(id, 0, true);
  $("keypad").hidden = true;
  $("keys").setAttribute("aria-expanded", "false");
  $("mute").setAttribute("aria-pressed", "false");
  $("pressed").textContent = "";
  $("token").value = "";
  $("again").focus();
}

function warning(name, direction, active, value) {
  const who = direction === "sent" ? "They hear you" : "You hear them";
  if (name === "low-audio") return active ? "Your microphone is silent. Is the right one chosen, and switched on?" : "Your microphone is heard again.";
  if (!active) return `${who} clearly again.`;
  return name === "loss" ? `${who} badly: ${Math.round(value * 100)} % of the sound is lost on the way.` : `${who} unevenly: the sound arrives up to ${Math.round(value)} ms late.`;
}

function level(id, linear, aloud) {
  const share = linear > 0 ? Math.min(1, Math.max(0, 1 - (20 * Math.log10(linear)) / QUIET_DB)) : 0;
  const bar = $(id);
  bar.style.setProperty("--level", share.toFixed(3));
  document.querySelector(".orb").style.setProperty(`--${id}-level`, share.toFixed(3));
  if (!aloud) return;
  bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
  bar.setAttribute("aria-valuetext", share < 0.1 ? "silent" : share < 0.5 ? "quiet" : share < 0.9 ? "good" : "loud");
}

let turn = 0;
async function tick() {
  turn++;
  const own = leg;
  const live = own && own.state !== "idle" && own.state !== "ended";
  if (live) {
    const stats = await own.getStats().catch(() => undefined);
    if (!stats || own !== leg || own.state === "ended") return;
    const second = turn % Math.round(1_000 / LEVEL_MS) === 0;
    level("near", own.muted ? 0 : (stats.sent.level ?? 0), second);
    level("far", stats.received.level ?? 0, second);
    if (second) everySecond(stats);
  }
  if (answeredAt && live) $("clock").textContent = clock(Date.now() - answeredAt);
}

function everySecond(stats) {
  const packets = stats.received.packets - (before?.received.packets ?? 0);
  const lost = Math.max(0, stats.received.lost - (before?.received.lost ?? 0));
  const fresh = before && packets > 0;
  before = stats;
  if (stats.rttMs !== undefined) $("rtt").textContent = `${Math.round(stats.rttMs)} ms`;
  $("route").textContent = stats.transport
    ? `${stats.codec ?? "Audio"} over ${stats.transport.toUpperCase()}, ${stats.relayed ? "through a TURN server" : "straight to the server"}.`
    : "";
  if (!fresh) return;
  const share = lost / (packets + lost);
  history.push({ at: Date.now(), lost: share, jitter: stats.received.jitterMs });
  history = history.filter(({ at }) => at > Date.now() - HISTORY_S * 1_000);
  $("lost").textContent = `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
  $("jitter").textContent = `${Math.round(stats.received.jitterMs)} ms`;
  draw();
}

/** Empties the figures of the call before. */
function figures() {
  for (const id of ["mos", "lost", "jitter", "rtt"]) $(id).textContent = "–";
  $("route").textContent = "";
  $("graph").setAttribute("aria-label", "No measurement yet");
  draw();
}

/** The server's verdict as a line with dots, jitter as a line, loss as bars; the newest is at the right. */
function draw() {
  const canvas = $("graph");
  const scale = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue(name).trim();
  const now = Date.now();
  const x = (at) => width - 10 - ((now - at) / (HISTORY_S * 1_000)) * (width - 20);
  const y = (share) => height - 10 - Math.min(1, Math.max(0, share)) * (height - 20);
  const line = (color, points) => {
    pen.strokeStyle = color;
    pen.beginPath();
    for (const [at, share] of points) pen.lineTo(x(at), y(share));
    pen.stroke();
  };
  pen.lineJoin = "round";
  pen.lineWidth = 1;
  for (const share of [0, 0.5, 1]) line(ink("--rule"), [[now - HISTORY_S * 1_000, share], [now, share]]);
  pen.fillStyle = ink("--end");
  for (const { at, lost } of history) if (lost > 0) pen.fillRect(x(at) - 2, y(lost * 5), 4, y(0) - y(lost * 5));
  pen.lineWidth = 2;
  line(ink("--near"), history.filter(({ jitter }) => jitter !== undefined).map(({ at, jitter }) => [at, jitter / 80]));
  const verdicts = history.filter(({ mos }) => mos !== undefined).map(({ at, mos }) => [at, (mos - 1) / 3.5]);
  line(ink("--far"), verdicts);
  pen.fillStyle = ink("--far");
  for (const [at, share] of verdicts) {
    pen.beginPath();
    pen.arc(x(at), y(share), 3.5, 0, 7);
    pen.fill();
  }
  if (history.length > 0 && history.length % 10 === 1) {
    canvas.setAttribute("aria-label", `The last two minutes: quality ${$("mos").textContent}, now ${$("lost").textContent} lost and ${$("jitter").textContent} jitter`);
  }
}

function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  const two = (value) => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3_600);
  const minutes = Math.floor(seconds / 60) % 60;
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

async function devices() {
  const found = await navigator.mediaDevices?.enumerateDevices?.().catch(() => []) ?? [];
  const select = $("device");
  const chosen = select.value;
  const options = found.filter(({ kind, deviceId, label }) => kind === "audioinput" && deviceId && deviceId !== "default" && label);
  select.replaceChildren(select.options[0], ...options.map(({ deviceId, label }) => new Option(label, deviceId)));
  select.value = options.some(({ deviceId }) => deviceId === chosen) ? chosen : "default";
}

function press(key) {
  try {
    leg?.sendDigits(key);
    $("pressed").textContent = ($("pressed").textContent + key).slice(-24);
  } catch {
    log("Keys can be pressed once the call is answered.");
  }
}

function toggleMute() {
  if (!leg) return;
  if (leg.muted) leg.unmute();
  else leg.mute();
  $("mute").setAttribute("aria-pressed", String(leg.muted));
  log(leg.muted ? "Muted: they hear silence." : "They hear you again.");
}

for (const [key, letters] of [["1", ""], ["2", "ABC"], ["3", "DEF"], ["4", "GHI"], ["5", "JKL"], ["6", "MNO"], ["7", "PQRS"], ["8", "TUV"], ["9", "WXYZ"], ["*", ""], ["0", "+"], ["#", ""]]) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", { "*": "star", "#": "pound" }[key] ?? key);
  const small = document.createElement("small");
  small.textContent = letters;
  button.append(key, small);
  button.addEventListener("click", () => press(key));
  $("keypad").append(button);
}

for (const radio of document.querySelectorAll("input[name=path]")) radio.addEventListener("change", () => choose(radio.value));
$("token").addEventListener("input", () => {
  const text = $("token").value.trim();
  if (unpack(text) || /rvk_/.test(text)) checkToken();
  else wrong("token", "");
});
// A password field drops the line breaks of an answer that is pasted whole; the clipboard has them still.
$("token").addEventListener("paste", (event) => {
  if (!unpack(event.clipboardData?.getData("text") ?? "")) return;
  event.preventDefault();
  checkToken();
});
$("setup").addEventListener("submit", (event) => {
  event.preventDefault();
  if (checkAll()) void start(wanted(), false);
});
$("hangup").addEventListener("click", () => leg?.hangup().catch((error) => log(error.message)));
$("again").addEventListener("click", () => {
  trouble();
  answeredAt = 0;
  $("clock").textContent = "0:00";
  show("idle", "Ready when you are", "Each call needs a token of its own.");
  $("token").focus();
});
$("mute").addEventListener("click", toggleMute);
$("keys").addEventListener("click", () => {
  const open = $("keypad").hidden;
  $("keypad").hidden = !open;
  $("keys").setAttribute("aria-expanded", String(open));
  if (open) $("keypad").firstElementChild.focus();
});
$("device").addEventListener("change", () => leg?.setInputDevice($("device").value).catch((error) => trouble(error)));
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey;
  if (!typing && !$("keypad").hidden && /^[0-9*#]$/.test(event.key)) press(event.key);
});
// A click anywhere is what the browser waits for when it holds the sound back.
document.addEventListener("click", () => fault?.code === "playback_blocked" && leg?.play().then(() => trouble(), () => undefined));
navigator.mediaDevices?.addEventListener?.("devicechange", devices);
setInterval(tick, LEVEL_MS);

choose("dial");
void devices();
figures();
if (kept()) void start(kept(), true);
