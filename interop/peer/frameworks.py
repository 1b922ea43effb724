# Asks a server of Lentil's through LangChain and LlamaIndex. Prints "ok NAME" for each thing that went as they document it,
# and ends with an error at the first that did not.
# frameworks.py URL MODEL
import sys

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

url, model = sys.argv[1].rstrip("/") + "/v1", sys.argv[2]
question = "What is fibre good for?"


def ok(name, good, found=None):
    if not good:
        sys.exit(f"{name}: {found!r}")
    print("ok", name)


chat = ChatOpenAI(base_url=url, api_key="none", model=model, max_tokens=20, temperature=0, max_retries=0)
said = chat.invoke([HumanMessage(question)])
text = said.content
ok("langchain invoke", text and said.usage_metadata["output_tokens"] > 0, said)
ok("langchain stream", "".join(chunk.content for chunk in chat.stream(question)) == text)
chain = ChatPromptTemplate.from_messages([("human", "What is {thing} good for?")]) | chat | StrOutputParser()
ok("langchain chain", chain.invoke({"thing": "fibre"}) == text)
ok("langchain batch", chain.batch([{"thing": "fibre"}, {"thing": "iron"}])[0] == text)
ok("langchain system", chat.invoke([SystemMessage("Be short."), HumanMessage(question)]).content)


class Meal(BaseModel):
    vegetarian: bool
    grams: int


meal = ChatOpenAI(base_url=url, api_key="none", model=model, max_tokens=200, temperature=0).with_structured_output(Meal, method="json_schema").invoke(question)
ok("langchain structured output", isinstance(meal, Meal), meal)
vectors = OpenAIEmbeddings(base_url=url, api_key="none", model=model, check_embedding_ctx_length=False).embed_documents(["beans", "rice"])
ok("langchain embeddings", len(vectors) == 2 and len(vectors[0]) > 0)

index = OpenAILike(api_base=url, api_key="none", model=model, max_tokens=20, temperature=0, is_chat_model=True, context_window=1024, max_retries=0)
ok("llama_index chat", index.chat([ChatMessage(role="user", content=question)]).message.content == text)
ok("llama_index stream", "".join(r.delta or "" for r in index.stream_chat([ChatMessage(role="user", content=question)])) == text)
plain = OpenAILike(api_base=url, api_key="none", model=model, max_tokens=8, temperature=0, is_chat_model=False, context_window=1024, max_retries=0)
ok("llama_index complete", plain.complete("Beans have").text)
