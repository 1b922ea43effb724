// Greedy decoding with llama.cpp, answered as JSON on standard output.
//
//   node llama.mjs MODEL.gguf PROMPTS.json COUNT [ADAPTER.gguf]
//
// PROMPTS.json is a list of texts with their special tokens already in place.
// Each answer has the prompt's token ids, the ids chosen (an end-of-sequence id
// is the last one) and how far the runner-up's logit stands below each choice.
import {readFileSync} from "node:fs";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

// The package lives in .interop/node, not beside this file.
const require = createRequire(process.env.LENTIL_NODE_PEERS + "/package.json");
const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);

const [path, prompts, count, lora] = process.argv.slice(2);
const llama = await getLlama({gpu: false, build: "never", logLevel: "error"});
const model = await llama.loadModel({modelPath: path});
// Keys and values in float32, so that float32 weights lose no bit on the way.
const context = await model.createContext({
    contextSize: 1024, threads: 1, lora, flashAttention: false, experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"
});
const sequence = context.getSequence();

const answers = [];
for (const text of JSON.parse(readFileSync(prompts, "utf8"))) {
    await sequence.clearHistory();
    const prompt = model.tokenize(text, true);
    const ids = [], gaps = [];
    let input = prompt;
    while (ids.length < Number(count)) {
        const last = [input.at(-1), {generateNext: {logits: true, options: {temperature: 0}}}];
        const out = await sequence.controlledEvaluate([...input.slice(0, -1), last]);
        const top = [...out[input.length - 1].next.logits.entries()].slice(0, 2);
        ids.push(top[0][0]);
        gaps.push(top[0][1] - top[1][1]);
        if (model.isEogToken(top[0][0]))
            break;
        input = [top[0][0]];
    }
    answers.push({prompt: [...prompt], ids, gaps});
}
await model.dispose();
process.stdout.write(JSON.stringify(answers), () => process.exit(0));
