import { describe, expect, it } from "vitest";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";
import { tensorsOf } from "../../src/onnx/external.ts";
import { layoutOf, splice } from "../../src/onnx/splice.ts";
import { joinChunks } from "../../src/onnx/stored.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { backendModel, backendModels, backendModelsMissing } from "../helpers/backend-models.ts";

describe.skipIf(backendModelsMissing)(`the ONNX backend models ${backendModelsMissing || ""}`, () => {
  it("are all there", () => {
    expect(backendModels.length).toBeGreaterThan(1700);
  });

  it("survive decoding and encoding byte for byte", () => {
    const changed = backendModels.filter((name) => {
      const bytes = backendModel(name);
      return !equalBytes(encodeModelProto(decodeModelProto(bytes)), bytes);
    });
    expect(changed).toEqual([]);
  });

  it("survive a splice without edits byte for byte", () => {
    const changed = backendModels.filter((name) => {
      const bytes = backendModel(name);
      return !equalBytes(joinChunks(splice(layoutOf(bytes), {})), bytes);
    });
    expect(changed).toEqual([]);
  });

  it("hold tensors whose data reads and writes alike", () => {
    let count = 0;
    for (const name of backendModels) {
      for (const proto of tensorsOf(decodeModelProto(backendModel(name)))) {
        const tensor = Tensor.fromProto(proto);
        expect(Tensor.fromProto(tensor.toProto()).data, `${name}: ${tensor.name}`).toEqual(tensor.data);
        count++;
      }
    }
    expect(count).toBeGreaterThan(1000);
  });
});
