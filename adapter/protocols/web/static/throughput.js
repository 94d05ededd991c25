// What came in during the last hour, in buckets: the fold of adapter/domain/throughput.py.

export const BUCKET_S = 10;
export const BUCKETS = 360;

export class Throughput {
  constructor() {
    this.buckets = new Map(); // number of the bucket since 1970 -> [instances, bytes]
  }

  /** Take over {bucketS, buckets: [[number, instances, bytes], ...]} of a snapshot. */
  take(told) {
    this.buckets = new Map(told.buckets.map(([number, instances, bytes]) => [number, [instances, bytes]]));
  }

  add(atMs, instances, bytes) {
    const number = Math.floor(atMs / 1000 / BUCKET_S);
    const old = this.buckets.get(number);
    if (old) {
      old[0] += instances;
      old[1] += bytes;
      return;
    }
    this.buckets.set(number, [instances, bytes]);
    for (const each of this.buckets.keys()) if (each <= number - BUCKETS) this.buckets.delete(each);
  }

  /** The hour before now, oldest first: [instances per second, bytes per second] for each bucket. */
  rates(nowMs) {
    const last = Math.floor(nowMs / 1000 / BUCKET_S);
    const rates = [];
    for (let number = last - BUCKETS + 1; number <= last; number += 1) {
      const [instances, bytes] = this.buckets.get(number) ?? [0, 0];
      const seconds = number === last ? Math.max(nowMs / 1000 - last * BUCKET_S, 1) : BUCKET_S;
      rates.push([instances / seconds, bytes / seconds]);
    }
    return rates;
  }
}
