// Which public methods a package's declarations promise, and which of them were called.
import { readFileSync } from "node:fs";

const CLASS = /^declare class (\w+)/;
const METHOD = /^ {4}(static |get |async )*(\w+)(<.*)?\(/;
const HIDDEN = /^ {4}(private|protected|constructor)\b/;
const GETTER = /^ {4}get (\w+)\(/;

/** Class name to the names of its public methods, static ones and getters, as a `.d.ts` file declares them. */
export function declaredMethods(path) {
  const classes = {};
  let current = null;
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const start = CLASS.exec(line);
    if (start) current = classes[start[1]] = new Set();
    else if (line.startsWith("}")) current = null;
    else if (current && METHOD.test(line) && !HIDDEN.test(line)) current.add(METHOD.exec(line)[2]);
  }
  return Object.fromEntries(Object.entries(classes).filter(([, names]) => names.size > 0));
}

/** Note in `called` ("Class.method") each call of the methods of `target`, which go on as before. */
export function record(target, className, names, called) {
  for (const holder of [target.prototype, target]) {
    for (const name of names) {
      const property = Object.getOwnPropertyDescriptor(holder, name);
      if (!property) continue;
      const kind = property.get ? "get" : "value";
      const original = property[kind];
      property[kind] = function (...given) {
        called.add(`${className}.${name}`);
        return original.apply(this, given);
      };
      Object.defineProperty(holder, name, property);
    }
  }
}
