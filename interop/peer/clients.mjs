// Asks a server of Lentil's through OpenAI's client for JavaScript. Prints "ok NAME" for each thing that went as the client
// documents it, and ends with an error at the first that did not.
// node clients.mjs URL MODEL BASE
import { createRequire } from "node:module";
import path from "node:path";
const { OpenAI } = createRequire(path.join(process.env.OPENAI_MODULES, "x.js"))("openai");

const [url, model, base] = process.argv.slice(2);
const ok = (name, good, found) => {
  if (!good) {
    console.error(name, found);
    process.exit(1);
  }
  console.log("ok", name);
};

const api = new OpenAI({ baseURL: url + "v1", apiKey: "none", maxRetries: 0 });
const question = { model, messages: [{ role: "user", content: "What is fibre good for?" }], max_tokens: 20 };

const ids = [];
for await (const m of api.models.list()) ids.push(m.id);
ok("js models", ids.includes(model) && ids.includes(base), ids);

const whole = await api.chat.completions.create(question);
const text = whole.choices[0].message.content;
ok("js chat", text && whole.usage.total_tokens > 10, whole);

let streamed = "", usage;
for await (const chunk of await api.chat.completions.create({ ...question, stream: true, stream_options: { include_usage: true } })) {
  streamed += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}
ok("js stream", streamed === text && usage.completion_tokens > 0, streamed);

const events = api.chat.completions.stream(question);
let pieces = "";
events.on("content", (piece) => (pieces += piece));
ok("js stream events", (await events.finalContent()) === text && pieces === text, pieces);

const schema = { type: "object", properties: { kind: { enum: ["vegan", "other"] }, grams: { type: "integer", minimum: 1, maximum: 99 } }, required: ["kind", "grams"], additionalProperties: false };
const formed = await api.chat.completions.create({ ...question, max_tokens: 60, response_format: { type: "json_schema", json_schema: { name: "meal", strict: true, schema } } });
const meal = JSON.parse(formed.choices[0].message.content);
ok("js schema", ["vegan", "other"].includes(meal.kind) && Number.isInteger(meal.grams), meal);

const answer = await api.responses.create({ model, input: "What is fibre good for?", max_output_tokens: 20 });
ok("js responses", answer.output_text === text, answer);
const kinds = [];
for await (const event of await api.responses.create({ model, input: "What is fibre good for?", max_output_tokens: 20, stream: true })) kinds.push(event.type);
ok("js responses stream", kinds[0] === "response.created" && kinds.at(-1) === "response.completed", kinds);

const vectors = await api.embeddings.create({ model, input: ["beans", "rice"] });
ok("js embeddings", vectors.data.length === 2 && vectors.data[0].embedding.length > 0, vectors);

const leaving = await api.chat.completions.create({ ...question, max_tokens: 200, stream: true });
for await (const chunk of leaving) if (chunk.choices[0]?.delta.content) leaving.controller.abort();
let load;
for (let i = 0; i < 100 && load?.running !== 0; i++) {
  await new Promise((r) => setTimeout(r, 50));
  load = await (await fetch(url + "health")).json();
}
ok("js abort", load.running === 0, load); // its answer has left the batch
try {
  await api.chat.completions.create({ ...question, model: "gpt" });
  ok("js unknown model", false);
} catch (e) {
  ok("js unknown model", e instanceof OpenAI.NotFoundError && e.code === "model_not_found" && e.param === "model", e);
}
