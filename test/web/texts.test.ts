import { describe, expect, it } from "vitest";
import { formatBytes } from "../../src/report/byte-count.ts";
import { count, degrees, loss, percent, plural, speed } from "../../web/format.ts";
import { History } from "../../web/history.ts";
import { numberAt, positionOf, type SliderOptions } from "../../web/setup/slider.ts";
import { phaseText, progressText } from "../../web/status-text.ts";
import { Speed } from "../../web/worker/speed.ts";
import { Turns } from "../../web/worker/turns.ts";

describe("numbers as text", () => {
  it.each([
    [count(109386), "109,386"],
    [percent(0.9532, 10_000), "95.32 %"],
    [percent(0.953, 1000), "95.3 %"],
    [percent(0.5, 64), "50 %"],
    [degrees(12.34), "12.3°"],
    [loss(2.2), "2.200"],
    [loss(0.03125), "0.03125"],
    [loss(0), "0"],
    [loss(0.00001234), "1.23e-5"],
    [loss(9.5e6), "9.50e+6"],
    [formatBytes(512), "512 B"],
    [formatBytes(438107), "438 kB"],
    [formatBytes(1_500_000), "1.5 MB"],
    [speed(0), "–"],
    [speed(312.4), "312 steps/s"],
    [speed(12.34), "12.3 steps/s"],
    [speed(0.42), "0.42 steps/s"],
    [plural(1, "layer"), "1 layer"],
    [plural(3, "layer"), "3 layers"],
  ])("%s", (found, expected) => {
    expect(found).toBe(expected);
  });
});

describe("a slider", () => {
  const options: SliderOptions = {
    ...{ id: "w", label: "w", hint: "", value: 0.1, powers: [-3, 1], allowZero: true },
  };

  it("goes through powers of ten, and to 0", () => {
    expect([0, 25, 50, 75, 100].map((at) => numberAt(at, options))).toEqual([0, 0.01, 0.1, 1, 10]);
    expect(numberAt(0, { ...options, allowZero: false })).toBe(0.001);
  });

  it("stands where its number is", () => {
    for (let at = 0; at <= 100; at += 5) expect(positionOf(numberAt(at, options), options)).toBe(at);
    expect([positionOf(1e9, options), positionOf(1e-9, options), positionOf(Number.NaN, options)]).toEqual([
      100, 1, 0,
    ]);
  });
});

describe("the status line", () => {
  const read = { ready: true, reading: false, wanted: false };
  const progress = {
    ...{ steps: { plain: 120, som: 119 }, totalSteps: 460, epochs: 5, stepsPerSecond: { plain: 1, som: 1 } },
    backend: "wasm",
  };

  it("says how far a run is, and how well both do", () => {
    const history = new History();
    const test = (accuracy: number, responseDistance: number) => ({
      ...{ step: 100, loss: 1, accuracy, weightDistance: 1, responseDistance },
    });
    history.addTest("plain", test(0.94, 41.23));
    history.addTest("som", test(0.951, 20));
    const text = progressText(progress, history);
    expect(text).toBe(
      "Epoch 2 of 5, step 119 of 460, on WebAssembly; plain 94.0 % right, 41.2° from 90°; SOM 95.1 % right, 20.0° from 90°",
    );
    expect(phaseText("paused", read, text)).toBe(`Paused. ${text}`);
  });

  it("says what to do before one", () => {
    expect(progressText(undefined, new History())).toBe("");
    expect(phaseText("idle", { ...read, ready: false }, "")).toBe("Choose a model, and data that fit it.");
    expect(phaseText("idle", { ...read, ready: false, reading: true }, "")).toBe("Reading …");
    expect(phaseText("idle", { ready: false, reading: true, wanted: true }, "")).toBe(
      "Training begins when everything is read …",
    );
    expect(phaseText("idle", read, "")).toBe("Ready to train.");
    expect(phaseText("running", read, "")).toBe("Running …");
  });
});

describe("Speed", () => {
  it("is a mean over whole seconds of work, whatever a single step takes", () => {
    const speed = new Speed();
    expect(speed.stepsPerSecond).toBe(0);
    speed.add(100);
    expect(speed.stepsPerSecond).toBe(10);
    // 32 steps in one go of 400 ms, again and again: 80 a second.
    for (let step = 0; step < 320; step++) speed.add(step % 32 === 0 ? 400 : 0);
    expect(speed.stepsPerSecond).toBeGreaterThan(50);
    expect(speed.stepsPerSecond).toBeLessThan(81);
  });
});

describe("Turns", () => {
  it("one piece of work begins when the one before it has ended, well or badly", async () => {
    const turns = new Turns();
    const said: string[] = [];
    const work =
      (name: string, fails = false) =>
      async () => {
        said.push(`${name} begins`);
        await new Promise((resolve) => setTimeout(resolve, 1));
        said.push(`${name} ends`);
        if (fails) throw new Error(name);
        return name;
      };
    const results = await Promise.allSettled([
      turns.take(work("a", true)),
      turns.take(work("b")),
      turns.take(work("c")),
    ]);
    expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
    expect(said).toEqual(["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]);
  });
});
