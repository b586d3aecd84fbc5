//! A log that is lost and comes back from a backup, under the keys of now; with whatever fault is planned.

use super::act::Act;
use super::history::History;
use super::model::Model;
use super::world::World;
use sayso::app::{Restored, restore_log};
use sayso::vault::Vault;
use std::error::Error;
use std::sync::Arc;

/// A backup, and what was known when it was taken.
pub struct Backup {
    bytes: Vec<u8>,
    model: Model,
    /// Erasures since, which no restore takes back.
    erasures: Vec<Act>,
}

impl Backup {
    /// Something was done since.
    pub fn note(&mut self, act: &Act) {
        if matches!(act, Act::Erase(..)) {
            self.erasures.push(act.clone());
        }
    }
}

impl History {
    /// Takes one, in place of an earlier one.
    pub async fn back_up(&mut self) {
        let app = self.world.app();
        let taking = async move {
            let (mut pieces, mut bytes) = (app.operations.backup(), Vec::new());
            while let Some(piece) = pieces.recv().await {
                bytes.extend(piece.unwrap().bytes);
            }
            bytes
        };
        let bytes = self.world.drive(taking).await;
        let newest = self.world.app().ledger().checkpoint();
        self.model.checkpoint(&newest.note, &self.world.app().ledger().verifier_key());
        self.backup = Some(Backup { bytes, model: self.model.clone(), erasures: Vec::new() });
    }

    /// The log is lost. What was acknowledged since the backup is gone with it, and nothing else; what was
    /// erased stays so.
    pub async fn restore(&mut self, recovery_faults: u64) {
        let Some(backup) = &self.backup else { return };
        self.world.clock.advance(1_000);
        self.world.restore(&backup.bytes).await;
        self.world.start(recovery_faults).await;
        self.model.go_back(&backup.model, &backup.erasures);
        self.model.check(&self.world).await;
    }
}

impl World {
    /// Puts a log from a backup in place of the one there is, again and again until it is whole.
    async fn restore(&mut self, backup: &[u8]) {
        for attempt in 0.. {
            assert!(attempt < 3, "a machine without faults restores");
            self.stop().await;
            self.stores = self.stores.take().map(super::machine::Stores::without_log);
            match self.refill(backup).await {
                Ok(restored) if !self.power.is_off() => {
                    self.stores = self.stores.take().map(super::machine::Stores::without_index);
                    self.restored = Some(restored);
                    return;
                }
                _ => self.power.turn_on(),
            }
        }
    }

    /// As `sayso restore` does it.
    async fn refill(&self, backup: &[u8]) -> Result<Restored, Box<dyn Error>> {
        let clock = Arc::clone(&self.clock);
        let vault =
            Vault::open(self.stores().keys(), Arc::clone(&self.custody) as _, Arc::clone(&clock) as _)?;
        for (request, _) in vault.pending_erasures()? {
            vault.erasure_done(request).await?;
        }
        let log = self.stores().log();
        let (restored, _) = restore_log(backup, log.as_ref(), &vault, super::ORIGIN, clock.as_ref())?;
        Ok(restored)
    }
}
