// The tokens at which llama.cpp ends an answer, as a JSON list of ids for each model.
//
//   node llama_ends.mjs MODEL.gguf...
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

// The package lives in .interop/node, not beside this file.
const require = createRequire(process.env.LENTIL_NODE_PEERS + "/package.json");
const {getLlama} = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);

const llama = await getLlama({gpu: false, build: "never", logLevel: "disabled"});
const all = [];
for (const path of process.argv.slice(2)) {
    const model = await llama.loadModel({modelPath: path, vocabOnly: true});
    const ends = [];
    for (let id = 0; id < model.fileInfo.metadata.tokenizer.ggml.tokens.length; id++) {
        if (model._model.isEogToken(id)) // without the eot that node-llama-cpp adds
            ends.push(id);
    }
    all.push(ends);
    await model.dispose();
}
process.stdout.write(JSON.stringify(all), () => process.exit(0));
