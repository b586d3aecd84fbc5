/** Finds the uses of this process that are under way, so that a revocation ends them at once. */

/** What is known here about a use. */
export interface OpenUse {
  readonly grantId: string;
  /** Ends the use: its block is empty from now on. */
  end(reason: string): void;
}

const REVOKED_MAX = 4_096;

/** The uses that are not closed yet. A use that its owner forgot does not stay in memory. */
export class OpenUses {
  readonly #uses = new Set<WeakRef<OpenUse>>();
  readonly #forgotten = new FinalizationRegistry<WeakRef<OpenUse>>((reference) => this.#uses.delete(reference));
  readonly #revoked = new Map<string, string>();

  /** Adds a use that has begun. Returns the function that removes it. */
  add(use: OpenUse): () => void {
    const reference = new WeakRef(use);
    this.#uses.add(reference);
    this.#forgotten.register(use, reference);
    return () => this.#uses.delete(reference);
  }

  /** Ends the uses of these grants. */
  revoked(grants: readonly string[], reason: string): void {
    if (grants.length === 0) return;
    for (const grant of grants) this.#note(grant, reason);
    this.#each((use) => {
      if (grants.includes(use.grantId)) use.end(reason);
    });
  }

  /**
   * Returns why a grant was revoked, if this is known here.
   *
   * A revocation may arrive before the answer that has the grant. The newest 4,096 are kept for that.
   */
  revocationOf(grant: string): string | undefined {
    return this.#revoked.get(grant);
  }

  /** Ends all uses. */
  suspended(reason: string): void {
    this.#each((use) => {
      use.end(reason);
    });
  }

  #note(grant: string, reason: string): void {
    this.#revoked.set(grant, reason);
    const [oldest] = this.#revoked.keys();
    if (this.#revoked.size > REVOKED_MAX && oldest !== undefined) this.#revoked.delete(oldest);
  }

  #each(act: (use: OpenUse) => void): void {
    for (const reference of this.#uses) {
      const use = reference.deref();
      if (use !== undefined) act(use);
    }
  }
}
