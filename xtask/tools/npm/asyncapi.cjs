// Usage: node asyncapi.cjs <folder with node_modules> <document>. Fails with the diagnostics of the official parser.
const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");
const { join, resolve } = require("node:path");

const [home, document] = process.argv.slice(2);
const { Parser } = createRequire(join(resolve(home), "package.json"))("@asyncapi/parser");

const ERROR = 0;

new Parser().parse(readFileSync(document, "utf8"), { source: resolve(document) }).then(
  ({ document: parsed, diagnostics }) => {
    const errors = diagnostics.filter(({ severity }) => severity === ERROR);
    for (const { path, message, range } of errors) {
      console.log(`${document}:${range.start.line + 1}: ${path.join(".")}: ${message}`);
    }
    if (errors.length > 0 || !parsed) process.exit(1);
    console.log(`${parsed.channels().length} channels, ${parsed.operations().length} operations`);
  },
  (error) => {
    console.log(error.message);
    process.exit(1);
  },
);
