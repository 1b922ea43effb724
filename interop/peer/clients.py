# Asks a server of Lentil's through the clients that people have: openai, anthropic, ollama. Prints "ok NAME" for each thing
# that went as its client documents it, and ends with an error at the first that did not.
# clients.py URL MODEL BASE
import json
import sys

import anthropic
import ollama
import openai
from pydantic import BaseModel, Field

url, model, base = sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3]
question = [{"role": "user", "content": "What is fibre good for?"}]


def ok(name, good, found=None):
    if not good:
        sys.exit(f"{name}: {found!r}")
    print("ok", name)


api = openai.OpenAI(base_url=url + "/v1", api_key="none")
ids = [m.id for m in api.models.list()]
ok("openai models", model in ids and base in ids, ids)
whole = api.chat.completions.create(model=model, messages=question, max_tokens=20)
text = whole.choices[0].message.content
ok("openai chat", text and whole.usage.total_tokens > 10 and whole.choices[0].finish_reason in ("stop", "length"), whole)
chunks = list(api.chat.completions.create(model=model, messages=question, max_tokens=20, stream=True, stream_options={"include_usage": True}))
ok("openai stream", "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text and chunks[-1].usage.completion_tokens > 0, chunks)
logs = api.chat.completions.create(model=model, messages=question, max_tokens=5, logprobs=True, top_logprobs=4).choices[0].logprobs.content
ok("openai logprobs", len(logs) == 5 and all(len(x.top_logprobs) == 4 and x.top_logprobs[0].logprob >= x.logprob - 1e-6 for x in logs), logs)
several = api.chat.completions.create(model=model, messages=question, max_tokens=8, n=3, temperature=1.0, seed=5)
ok("openai n", len({c.message.content for c in several.choices}) > 1 and len(several.choices) == 3, several)


class Kind(BaseModel):
    vegetarian: bool


class Meal(BaseModel):
    name: str = Field(max_length=12)
    kind: Kind
    grams: int


meal = api.chat.completions.parse(model=model, messages=question, response_format=Meal, max_tokens=300).choices[0]
ok("openai parse", isinstance(meal.message.parsed, Meal), meal)
done = api.completions.create(model=model, prompt="Beans have", max_tokens=4, logprobs=2, echo=True)
ok("openai completions", done.choices[0].text.startswith("Beans have") and done.choices[0].logprobs.token_logprobs[0] is None, done)
answer = api.responses.create(model=model, input="What is fibre good for?", max_output_tokens=20)
ok("openai responses", answer.output_text == text, answer)
with api.responses.stream(model=model, input="What is fibre good for?", max_output_tokens=20) as events:
    kinds = [e.type for e in events]
    final = events.get_final_response()
ok("openai responses stream", final.output_text == text and "response.output_text.delta" in kinds, kinds)
vectors = api.embeddings.create(model=model, input=["beans", "rice"])
ok("openai embeddings", len(vectors.data) == 2 and abs(sum(x * x for x in vectors.data[0].embedding) - 1) < 1e-3)
try:
    api.chat.completions.create(model="gpt", messages=question)
    ok("openai unknown model", False)
except openai.NotFoundError as e:
    ok("openai unknown model", e.param == "model" and e.code == "model_not_found", e)
try:
    api.chat.completions.create(model=model, messages=question, temperature=-1)
    ok("openai bad field", False)
except openai.BadRequestError as e:
    ok("openai bad field", e.param == "temperature", e)

claude = anthropic.Anthropic(base_url=url, api_key="none")
message = claude.messages.create(model=model, max_tokens=20, messages=question)
ok("anthropic messages", message.content[0].text == text and message.stop_reason in ("end_turn", "max_tokens"), message)
with claude.messages.stream(model=model, max_tokens=20, messages=question) as events:
    streamed = "".join(events.text_stream)
    final = events.get_final_message()
ok("anthropic stream", streamed == text and final.usage.output_tokens == message.usage.output_tokens, final)
ok("anthropic count_tokens", claude.messages.count_tokens(model=model, messages=question).input_tokens == message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0))
ok("anthropic models", model in [m.id for m in claude.models.list()])
try:
    claude.messages.create(model="none", max_tokens=5, messages=question)
    ok("anthropic unknown model", False)
except anthropic.NotFoundError as e:
    ok("anthropic unknown model", e.body["error"]["type"] == "not_found_error", e)

llama = ollama.Client(host=url)
ok("ollama list", model in [m.model for m in llama.list().models])
said = llama.chat(model=model, messages=question, options={"num_predict": 20})
ok("ollama chat", said.message.content == text and said.done and said.eval_count > 0, said)
ok("ollama stream", "".join(c.message.content for c in llama.chat(model=model, messages=question, options={"num_predict": 20}, stream=True)) == text)
ok("ollama generate", llama.generate(model=model, prompt="What is fibre good for?", options={"num_predict": 20}).response == text)
formed = llama.chat(model=model, messages=question, format={"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]})
ok("ollama format", json.loads(formed.message.content)["a"] in (1, 2), formed)
ok("ollama embed", len(llama.embed(model=model, input="beans").embeddings) == 1)
ok("ollama show", "completion" in llama.show(model).capabilities)
ok("ollama ps", len(llama.ps().models) > 0)
try:
    llama.chat(model="none", messages=question)
    ok("ollama unknown model", False)
except ollama.ResponseError as e:
    ok("ollama unknown model", e.status_code == 404, e)
