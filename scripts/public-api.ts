import {
  Application,
  type DeclarationReflection,
  type ProjectReflection,
  ReflectionKind,
  TSConfigReader,
  TypeDocReader,
} from "typedoc";

/** typedoc as `typedoc.json` sets it up, which reads the sources of every entry of the package. */
export const documentation = (): Promise<Application> =>
  Application.bootstrapWithPlugins({ logLevel: "Warn" }, [new TypeDocReader(), new TSConfigReader()]);

/** What an entry exports. */
export interface Export {
  /** As it is imported: `sorth-onnx`, `sorth-onnx/web`, `sorth-onnx/penalties` … */
  readonly entry: string;
  readonly name: string;
  /** `function`, `class`, `variable`, or `type` for what only the types know. */
  readonly kind: "function" | "class" | "variable" | "type";
  readonly deprecated: boolean;
}

const kinds = new Map([
  [ReflectionKind.Function, "function"],
  [ReflectionKind.Class, "class"],
  [ReflectionKind.Variable, "variable"],
] as const);

/** Everything that the entries export, in the order of names. */
export function exportsOf({ children: entries = [] }: ProjectReflection): Export[] {
  return entries.flatMap((entry) =>
    (entry.children ?? [])
      .map((child): Export => {
        const target = targetOf(child);
        const comments = [target.comment, ...(target.signatures ?? []).map(({ comment }) => comment)];
        return {
          entry: entry.name,
          name: child.name,
          kind: kinds.get(target.kind as ReflectionKind.Function) ?? "type",
          deprecated: comments.some((comment) => comment?.getTag("@deprecated") !== undefined),
        };
      })
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  );
}

/** What a re-export stands for. */
function targetOf(child: DeclarationReflection): DeclarationReflection {
  return child.isReference() ? (child.getTargetReflectionDeep() as DeclarationReflection) : child;
}

/** The list of all exports as text, one a line: what a version promises. */
export function apiText(exports: readonly Export[]): string {
  const entries = [...new Set(exports.map(({ entry }) => entry))];
  return entries
    .map((entry) => {
      const own = exports.filter((one) => one.entry === entry);
      const line = ({ name, kind, deprecated }: Export) =>
        `${kind} ${name}${deprecated ? " (deprecated)" : ""}`;
      const order = ["class", "function", "variable", "type"];
      const sorted = order.flatMap((kind) => own.filter((one) => one.kind === kind));
      return `# ${entry}\n\n${sorted.map(line).join("\n")}\n`;
    })
    .join("\n");
}

/** An example in a comment, as it stands there. */
export interface Example {
  readonly of: string;
  readonly code: string;
}

/** Examples that are whole modules: those that begin with what they import. */
export function examplesOf(project: ProjectReflection): Example[] {
  const found = new Map<string, Example>();
  for (const reflection of Object.values(project.reflections)) {
    for (const tag of reflection.comment?.getTags("@example") ?? []) {
      const code = tag.content
        .map(({ text }) => text)
        .join("")
        .replace(/^\s*```\w*\n?|```\s*$/g, "")
        .trim();
      if (code.startsWith("import ")) found.set(code, { of: reflection.getFriendlyFullName(), code });
    }
  }
  return [...found.values()];
}
