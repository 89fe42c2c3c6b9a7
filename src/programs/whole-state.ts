import { FileError } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { type StepPorts, statePorts } from "./step-ports.ts";

/**
 * Checks that tensors are exactly the state of a step.
 * @param where - their origin, for the message
 * @throws SorthError for a tensor that is missing, left over, or of another type or shape
 */
export function checkWholeState(ports: StepPorts, tensors: ReadonlyMap<string, Tensor>, where: string): void {
  const expected = statePorts(ports);
  const other = (what: string) =>
    new FileError(`${where} is of another run, or damaged: ${what}; give the folder as it was saved`);
  for (const { input, type, shape } of expected) {
    const tensor = tensors.get(input);
    if (!tensor) throw other(`it has no "${input}"`);
    if (tensor.type === type && tensor.dims.join() === shape.join()) continue;
    throw other(`"${input}" is ${tensor.type}[${tensor.dims}] in it, and ${type}[${shape}] in the model`);
  }
  const names = new Set(expected.map(({ input }) => input));
  const extra = [...tensors.keys()].find((name) => !names.has(name));
  if (extra !== undefined) throw other(`it has a "${extra}" that the run does not train`);
}
