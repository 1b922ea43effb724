// Speed of llama.cpp on one model: prompt tokens per second and decoding tokens
// per second, as JSON on standard output.
//
//   node bench_llama.mjs MODEL.gguf THREADS PROMPT_TOKENS GENERATION_TOKENS
//
// The binding's own work per token is part of the figures: it weighs on small
// models.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

// The package lives in .interop/node, not beside this file.
const require = createRequire(process.env.LENTIL_NODE_PEERS + "/package.json");
const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);

const [path, ...numbers] = process.argv.slice(2);
const [threads, promptTokens, count] = numbers.map(Number);
const llama = await getLlama({gpu: false, build: "never", logLevel: "error", maxThreads: threads});
const model = await llama.loadModel({modelPath: path});
const context = await model.createContext({contextSize: promptTokens + count + 16, batchSize: 512, threads});
const sequence = context.getSequence();
const prompt = Array.from({length: promptTokens}, (_, i) => 10 + (i * 7919) % 200);
const seconds = (from) => Number(process.hrtime.bigint() - from) / 1e9;

// One pass to warm up, one to measure.
let result;
for (let pass = 0; pass < 2; pass++) {
    await sequence.clearHistory();
    let from = process.hrtime.bigint();
    await sequence.evaluateWithoutGeneratingNewTokens(prompt);
    const read = seconds(from);
    let written = 0, first = 0;
    from = process.hrtime.bigint();
    for await (const _ of sequence.evaluate([5], {temperature: 0, yieldEogToken: true})) {
        if (written === 0)
            first = seconds(from);
        if (++written > count)
            break;
    }
    const write = seconds(from) - first;
    result = {prompt_tps: promptTokens / read, generation_tps: written > 1 ? (written - 1) / write : 0, first_token_seconds: read + first, written};
}
process.stdout.write(JSON.stringify(result));
await model.dispose();
process.exit(0);
