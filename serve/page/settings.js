// What a chat is asked with: models, system prompt, sampling.
import { $ } from "./dom.js";

const numbers = ["temperature", "top_p", "min_p", "repetition_penalty", "max_tokens", "seed"];

// parts are settings that other files add: {read(settings), write(settings), ask(body, settings)}.
export const parts = [];

export function settings() {
  const out = { model: $("model").value, beside: $("beside").value, system: $("system").value, thinking: $("thinking").checked };
  for (const n of numbers) if ($(n).value !== "") out[n] = Number($(n).value);
  for (const p of parts) p.read(out);
  return out;
}

export function setSettings(s) {
  const has = (select, v) => [...$(select).options].some(o => o.value === v);
  if (s.model && has("model", s.model)) $("model").value = s.model;
  if (s.beside !== undefined && has("beside", s.beside)) $("beside").value = s.beside;
  $("system").value = s.system ?? "";
  $("thinking").checked = s.thinking ?? true;
  for (const n of numbers) $(n).value = s[n] ?? "";
  for (const p of parts) p.write(s);
}

// request is what asks for an answer with these settings.
export function request(s) {
  const body = { system: s.system };
  for (const n of numbers) if (s[n] !== undefined) body[n] = s[n];
  if (!s.thinking) body.chat_template_kwargs = { enable_thinking: false };
  for (const p of parts) p.ask(body, s);
  return body;
}
