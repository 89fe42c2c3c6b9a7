import type { Emit } from "../../../graph/emit.ts";
import type { Typed } from "../../../graph/emit-base.ts";
import type { Node } from "../../../graph/node.ts";
import { dimAt } from "../../../graph/shapes.ts";
import { inputOf, optionalInput, type WrittenOutTable } from "./written-out.ts";

const functions: Readonly<Record<string, (g: Emit, x: Typed) => Typed>> = {
  tanh: (g, x) => g.tanh(x),
  relu: (g, x) => g.relu(x),
  sigmoid: (g, x) => g.sigmoid(x),
};

/** The functions of a node's directions; undefined for one that is not covered. */
function functionsOf(node: Node, directions: number) {
  const given = node.attributes.get("activations");
  const names = given?.kind === "strings" ? given.value : Array<string>(directions).fill("Tanh");
  const found = names.map((name) => functions[name.toLowerCase()]);
  return found.every((one) => one !== undefined) ? found : undefined;
}

export const recurrent: WrittenOutTable = {
  // h = f(W·x + R·h + b), step by step.
  RNN: (g, node) => {
    const [x, w, r] = [inputOf(node, 0), inputOf(node, 1), inputOf(node, 2)];
    const [bias, initial] = [optionalInput(node, 3), optionalInput(node, 5)];
    const [directions, units] = [dimAt(w.shape, 0), dimAt(w.shape, 1)];
    const activations = functionsOf(node, directions);
    // Lengths by sample, a clip and the other layout are rare.
    if (!activations || node.inputs[4] || node.attributes.has("clip") || node.flag("layout"))
      return undefined;
    const [steps, samples] = [dimAt(x.shape, 0), dimAt(x.shape, 1)];
    const of = (value: Typed, direction: number) =>
      g.reshape(g.slice(value, [{ axis: 0, start: direction, length: 1 }]), value.shape.slice(1));
    const states = activations.map((activate, direction) => {
      const backwards = direction === 1 || node.string("direction", "forward") === "reverse";
      const inward = g.matMul(x, g.transpose(of(w, direction)));
      const biases = bias && g.reduceSum(g.reshape(of(bias, direction), [2, units]), [0], true);
      const driven = biases ? g.add(inward, biases) : inward;
      const recurrence = g.transpose(of(r, direction));
      const outputs: Typed[] = [];
      let state = initial && of(initial, direction);
      for (let i = 0; i < steps; i++) {
        const at = backwards ? steps - 1 - i : i;
        const part = g.reshape(g.slice(driven, [{ axis: 0, start: at, length: 1 }]), [samples, units]);
        state = activate(g, state ? g.add(part, g.matMul(state, recurrence)) : part);
        outputs[at] = g.reshape(state, [1, 1, samples, units]);
      }
      const last = g.reshape(state ?? g.filled(0, [samples, units], x.type), [1, samples, units]);
      return { all: g.concat(outputs, 0), last };
    });
    return [
      g.identity(
        g.concat(
          states.map(({ all }) => all),
          1,
        ),
      ),
      g.identity(
        g.concat(
          states.map(({ last }) => last),
          0,
        ),
      ),
    ];
  },
};
