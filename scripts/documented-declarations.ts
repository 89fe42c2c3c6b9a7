import type { TsdownPlugin } from "tsdown";

/**
 * Gives the declarations of functions that are typed by the list of signatures (`inject: Library["inject"]`) the comment that
 * stands there, so that editors show it wherever the function is named, and not in calls alone.
 *
 * Leaves out that classes have private fields: TypeScript would take each class of `dist/node` for another one than that of
 * `dist/web`, and finds the former behind `sorth-onnx/optimizers` also where a page imports `sorth-onnx/web`.
 */
export function documentedDeclarations(): TsdownPlugin {
  return {
    name: "documented-declarations",
    generateBundle(_, bundle) {
      const files = Object.values(bundle).flatMap((file) =>
        file.type === "chunk" && file.fileName.endsWith(".d.ts") ? [file] : [],
      );
      const lists = files.flatMap(({ code }) =>
        [...code.matchAll(/^interface (?:Library|\w+Functions)\b[^{]*\{[\s\S]*?^\}/gm)].map(([list]) => list),
      );
      const texts = new Map(
        [...lists.join("\n").matchAll(/^ {2}(\/\*\*[\s\S]*?\*\/)\n {2}(\w+)\(/gm)].map(
          ([, text = "", name = ""]) => [name, text.replace(/^ {2}/gm, "")],
        ),
      );
      for (const file of files) {
        file.code = file.code.replace(
          /^\/\*\* @function \*\/\n(?=declare const (\w+): Library\["\1"\];)/gm,
          (_, name: string) => `${texts.get(name)}\n`,
        );
        file.code = file.code.replace(/^ +#private;\n/gm, "");
      }
    },
  };
}
