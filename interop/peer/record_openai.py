# Records what the real openai client sends to a server and gets from it, for endpoint/testdata/openai.json:
#   lentil serve --model demo/model --port 8099 &
#   .interop/clients/bin/python interop/peer/record_openai.py http://127.0.0.1:8099/v1 > endpoint/testdata/openai.json
import json
import sys

import httpx
import openai

exchanges = []


class Recorder(httpx.HTTPTransport):
    def handle_request(self, request):
        response = super().handle_request(request)
        response.read()
        exchanges.append({
            "method": request.method,
            "path": request.url.path,
            "authorization": request.headers.get("authorization"),
            "request": json.loads(request.content or "null"),
            "status": response.status_code,
            "type": response.headers["content-type"],
            "response": response.text,
        })
        return response


api = openai.OpenAI(base_url=sys.argv[1], api_key="sk-recorded", max_retries=0, http_client=httpx.Client(transport=Recorder()))
model = next(iter(api.models.list())).id
ask = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "How much protein do cooked lentils have?"}]
api.chat.completions.create(model=model, messages=ask, max_tokens=24, temperature=0, seed=5)
api.chat.completions.create(model=model, messages=ask, max_tokens=3, temperature=0, seed=5)
schema = {"name": "rows", "schema": {"enum": ["yes", "no"]}}
api.chat.completions.create(model=model, messages=ask[1:], max_tokens=8, temperature=0, seed=0, response_format={"type": "json_schema", "json_schema": schema})
try:
    api.chat.completions.create(model="no-such-model", messages=ask[1:], max_tokens=8, temperature=0, seed=0)
    sys.exit("an unknown model was answered for")
except openai.NotFoundError:
    pass
json.dump({"client": "openai " + openai.__version__, "exchanges": exchanges}, sys.stdout, indent=1)
print()
