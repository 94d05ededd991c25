// Open groups and when they will close: the fold of adapter/domain/group_rows.py.

export class Groups {
  constructor(rows) {
    this.rows = rows;
    this.times = new Map();
  }

  /** Take over the rows of a snapshot. */
  take(nowMs) {
    for (const row of this.rows.values()) {
      const latest = row.latestAt ? Date.parse(row.latestAt) : nowMs;
      this.times.set(row.id, {
        quietMs: (row.timeoutS ?? 0) * 1000,
        latestMs: latest,
        notBeforeMs: row.notBeforeAt ? Date.parse(row.notBeforeAt) : 0,
        waitsForEnd: "ofAssociation" in row || "onAbort" in row,
        associations: new Set(row.associations),
      });
    }
  }

  apply(event, verb, data, at) {
    if (verb === "closed") {
      this.rows.delete(event.group);
      this.times.delete(event.group);
    } else if (verb === "dropped") {
      const row = this.rows.get(event.group);
      if (!row) return;
      row.instances -= data.instances;
      row.bytes -= data.bytes;
      this.setDue(event.group, at);
    } else {
      this.stands(event, verb, data, at);
    }
  }

  /** Take over what the entity says about where the group stands. */
  stands(event, verb, data, at) {
    const { leftS, ageLeftS = 0, notBeforeS = 0, ...rest } = data;
    const old = this.times.get(event.group);
    const times = {
      quietMs: (data.timeoutS ?? 0) * 1000,
      latestMs: at + ageLeftS * 1000,
      notBeforeMs: at + notBeforeS * 1000,
      waitsForEnd: "ofAssociation" in data || "onAbort" in data,
      associations: old?.associations ?? new Set(),
    };
    this.times.set(event.group, times);
    this.rows.set(event.group, {
      id: event.group,
      aeTitle: event.aeTitle ?? "",
      openedAt: this.rows.get(event.group)?.openedAt ?? event.time,
      state: verb,
      associations: [...times.associations].sort(),
      dueAt: leftS === null || leftS === undefined ? null : written(at + leftS * 1000),
      latestAt: written(times.latestMs),
      ...(notBeforeS ? { notBeforeAt: written(times.notBeforeMs) } : {}),
      ...rest,
    });
  }

  arrived(group, association, at, instances, bytes) {
    const row = this.rows.get(group);
    const times = this.times.get(group);
    row.instances += instances;
    row.bytes += bytes;
    if (!times.associations.has(association)) {
      times.associations.add(association);
      row.associations = [...times.associations].sort();
    }
    this.setDue(group, at);
  }

  associationEnded(association, at) {
    for (const [group, times] of this.times) {
      if (!times.associations.delete(association)) continue;
      this.rows.get(group).associations = [...times.associations].sort();
      if (times.waitsForEnd) this.setDue(group, at);
    }
  }

  setDue(group, quietSince) {
    const row = this.rows.get(group);
    const times = this.times.get(group);
    if (row.held || (times.waitsForEnd && times.associations.size)) {
      row.dueAt = null;
      return;
    }
    row.dueAt = written(Math.max(Math.min(quietSince + times.quietMs, times.latestMs), times.notBeforeMs));
  }
}

const written = (ms) => new Date(ms).toISOString();
