"use strict";
const base = new URL(".", location.href).href.replace(/\/$/, "");
const EXAMPLES = {
  "post /predict": [
    `curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' ${base}/predict`,
    `curl -F images=@a.jpg -F images=@b.png '${base}/predict?top=3'`,
    `curl -H 'Content-Type: application/json' -d '{"images": ["<base64>"]}' ${base}/predict`,
  ],
  "post /v2/models/{name}/infer": [
    `curl -d '{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [1, 32, 32, 3], "data": [...]}]}' ${base}/v2/models/NAME/infer`,
  ],
};

function add(parent, tag, text) {
  const made = parent.appendChild(document.createElement(tag));
  if (text !== undefined) made.textContent = text;
  return made;
}

function table(parent, rows) {
  const made = add(add(parent, "div"), "table");
  made.parentNode.className = "scroll";
  for (const cells of rows) {
    const row = add(made, "tr");
    cells.forEach((cell, index) => { add(row, "td", cell).className = index === cells.length - 1 ? "wide" : ""; });
  }
}

fetch("openapi.json").then((response) => response.json()).then((description) => {
  for (const [path, methods] of Object.entries(description.paths)) {
    for (const [method, about] of Object.entries(methods)) {
      const part = add(document.getElementById("paths"), "section");
      add(add(part, "h2"), "code", `${method.toUpperCase()} ${path}`);
      add(part, "p", `${about.summary}.`);
      const examples = EXAMPLES[`${method} ${path}`] || (method === "get" ? [`curl ${base}${path}`] : []);
      if (examples.length) add(part, "pre", examples.join("\n"));
      const parameters = about.parameters || [];
      if (parameters.length) table(part, parameters.map((one) => [one.name, one.in, one.description || ""]));
      const bodies = Object.keys(about.requestBody?.content || {});
      if (bodies.length) add(part, "p", `Body: ${bodies.join(", ")}.`);
      table(part, Object.entries(about.responses).map(([status, response]) => [status, response.description]));
      const example = about.responses["200"]?.content?.["application/json"]?.example;
      if (example) add(part, "pre", JSON.stringify(example, null, 1));
    }
  }
});
