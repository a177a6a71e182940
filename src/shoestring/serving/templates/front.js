"use strict";
const $ = (id) => document.getElementById(id);
const TOP = 5, PARALLEL = 4, LABEL = 0.5;
let models = [], limits = {}, key = "", stream = null;
const waiting = [];
let running = 0;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

function send(path, options = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  return fetch(path, { ...options, headers });
}

async function load() {
  let response;
  try {
    response = await send("models");
  } catch {
    $("about").textContent = "The server does not answer.";
    return;
  }
  $("key-form").hidden = response.status !== 401;
  if (!response.ok) {
    $("about").textContent = key && response.status === 401 ? "This API key is wrong." : "";
    return;
  }
  ({ models, limits } = await response.json());
  $("model").replaceChildren(...models.map((model) => new Option(model.name)));
  $("choice").hidden = models.length < 2;
  describe();
}

const chosen = () => models.find((model) => model.name === $("model").value);

function describe() {
  const model = chosen(), count = model.classes.length;
  const names = count <= 12 ? `: ${model.classes.join(", ")}` : "";
  const kind = model.task === "multi-label" ? "labels" : "classes";
  const [figures, on] = model.quantization
    ? [model.quantization, `validation images in ${model.precision}`]
    : [model.accuracy, `${model.accuracy && model.accuracy.split} images`];
  const measured = figures && figures.accuracy ? ` Accuracy on ${figures.images} ${on}: ${percent(figures.accuracy)}.` : "";
  $("about").textContent = `Model ${model.name}, ${count} ${kind}${names}.${measured}`;
}

function add(file, name) {
  const card = element("li", undefined, "result"), picture = new Image(), text = element("div");
  picture.alt = "";
  picture.src = URL.createObjectURL(file);
  picture.onload = () => URL.revokeObjectURL(picture.src);
  picture.onerror = () => { picture.style.visibility = "hidden"; };
  text.append(element("h2", "…"), element("p", name));
  card.append(picture, text);
  $("results").prepend(card);
  waiting.push({ file, name, card, text, model: chosen() });
  next();
}

function next() {
  while (running < PARALLEL && waiting.length) {
    running += 1;
    const item = waiting.shift();
    classify(item).catch((error) => refuse(item, String(error))).finally(() => { running -= 1; next(); });
  }
}

async function classify(item) {
  if (item.file.size > limits.bytes) {
    refuse(item, `It has ${(item.file.size / 1e6).toFixed(1)} MB: the maximum is ${(limits.bytes / 1e6).toFixed(1)} MB.`);
    return;
  }
  const path = `predict?top=${TOP}&model=${encodeURIComponent(item.model.name)}`;
  let response;
  for (let attempt = 0; attempt < 10; attempt += 1) {
    response = await send(path, { method: "POST", body: new Blob([item.file], { type: "application/octet-stream" }) });
    if (response.status !== 429) break;
    await new Promise((done) => setTimeout(done, 1000));
  }
  const answer = await response.json().catch(() => ({ error: `the server answered ${response.status}` }));
  if (!response.ok) refuse(item, sentence(answer.error));
  else show(item, answer.predictions[0].classes);
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function refuse(item, reason) {
  item.card.classList.add("refused");
  item.text.replaceChildren(element("h2", "No result"), element("p", item.name), element("div", reason));
}

function show(item, classes) {
  const several = item.model.task === "multi-label";
  const found = several ? classes.filter((row) => row.probability >= LABEL) : classes.slice(0, 1);
  const title = found.map((row) => row.class).join(", ") || "none of the labels";
  const bars = element("dl", undefined, "bars");
  for (const row of classes) {
    const name = element("dt", row.class), cell = element("dd"), bar = element("div", undefined, "bar"), fill = element("span");
    name.title = row.class;
    fill.style.setProperty("--part", row.probability);
    bar.append(fill);
    cell.append(bar);
    bars.append(name, cell, element("dd", percent(row.probability), "value"));
  }
  item.text.replaceChildren(element("h2", title), element("p", item.name), bars);
}

function addAll(files) {
  if (!models.length) return;
  say(files.length ? "" : "Only files can be dropped here.");
  for (const file of files) add(file, file.name || "picture");
}

async function openCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    say(`The camera cannot be used: ${error.message}.`);
    return;
  }
  say("");
  $("video").srcObject = stream;
  $("viewfinder").hidden = false;
}

function closeCamera() {
  stream?.getTracks().forEach((track) => track.stop());
  $("viewfinder").hidden = true;
}

function shoot() {
  const video = $("video"), canvas = element("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.toBlob((blob) => blob && add(blob, "camera"), "image/jpeg", 0.95);
}

$("files").addEventListener("change", (event) => { addAll([...event.target.files]); event.target.value = ""; });
$("model").addEventListener("change", describe);
$("camera").addEventListener("click", openCamera);
$("camera").hidden = !navigator.mediaDevices; // browsers offer the camera to secure pages only
$("shoot").addEventListener("click", shoot);
$("stop").addEventListener("click", closeCamera);
$("key-form").addEventListener("submit", (event) => { event.preventDefault(); key = $("key").value; load(); });
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) addAll([...event.clipboardData.files]); });
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  addAll([...event.dataTransfer.files]);
});
load();
