/** The events of a made-up run of four epochs of 500 steps, with a validation set, a penalty and measurements. */
export function longRun(): Record<string, unknown>[] {
  const perEpoch = 500;
  const events: Record<string, unknown>[] = [];
  const measured = (step: number, epoch: number) => {
    const layer = (name: string, spread: number) => ({
      name,
      weights: { mean: 90 - epoch / 4, spread: spread / 3 },
      responses: { mean: 90 + epoch / 2, spread: spread / (1 + epoch) },
    });
    events.push({
      ...{ event: "angles", step, epoch },
      layers: [layer("fc1", 30), layer("encoder.layers.0.attention.out", 45)],
    });
    const norm = 2 / (1 + step / 100);
    events.push({
      ...{ event: "gradients", step, epoch, total: { loss: 1, penalty: norm, cosine: -0.1 } },
      parameters: [
        { name: "fc1.weight", loss: 0.5, penalty: norm / 2 },
        { name: "encoder.layers.0.attention.out.weight", loss: 0.4, penalty: norm },
        { name: "fc1.bias", loss: 0.1, penalty: 0 },
      ],
    });
  };
  measured(0, 0);
  for (let epoch = 1; epoch <= 4; epoch++) {
    for (let i = 1; i <= perEpoch; i++) {
      const step = (epoch - 1) * perEpoch + i;
      const loss = 0.2 + 2.5 * Math.exp(-step / 300) * (1 + 0.2 * Math.sin(step * 12.9898));
      events.push({
        ...{ event: "step", step, epoch, loss, penalty: 3 * Math.exp(-step / 200) },
        ...{ penaltyShare: 0.05 + 0.3 * Math.exp(-step / 150), seconds: step / 50 },
        ...{ samplesPerSecond: 3200, totalSteps: 4 * perEpoch },
      });
    }
    const validation = { loss: 1 / (1 + epoch), accuracy: 1 - 0.5 / (1 + epoch), samples: 1000 };
    events.push({
      ...{ event: "epoch", step: epoch * perEpoch, epoch, loss: 1.2 / epoch, penalty: 1 / epoch },
      ...{ validation, accuracy: validation.accuracy, seconds: epoch * 10, samplesPerSecond: 3200 },
    });
    measured(epoch * perEpoch, epoch);
  }
  events.push({ event: "end", step: 4 * perEpoch, epoch: 4, seconds: 40, samplesPerSecond: 3200 });
  return events;
}
