//! Restores a lost log from a backup, and repeats the restore if a planned fault interrupts it. The keys are
//! not restored: the current keys stay.

use super::action::Action;
use super::history::History;
use super::model::Model;
use super::world::World;
use sayso::app::{Restored, restore_log};
use sayso::vault::Vault;
use std::error::Error;
use std::sync::Arc;

/// A backup, and the model at the time when it was taken.
pub struct Backup {
    bytes: Vec<u8>,
    model: Model,
    /// Erasures since the backup, which a restore does not undo.
    erasures: Vec<Action>,
}

impl Backup {
    /// Notes an action that was done after the backup.
    pub fn note(&mut self, action: &Action) {
        if matches!(action, Action::Erase(..)) {
            self.erasures.push(action.clone());
        }
    }
}

impl History {
    /// Takes a backup, which replaces an earlier one.
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
        self.model.add_checkpoint(&newest.note, &self.world.app().ledger().verifier_key());
        self.backup = Some(Backup { bytes, model: self.model.clone(), erasures: Vec::new() });
    }

    /// Loses the log and restores it. Only what was acknowledged since the backup may be lost, and erased
    /// data must stay erased.
    pub async fn restore(&mut self, recovery_faults: u64) {
        let Some(backup) = &self.backup else { return };
        self.world.clock.advance(1_000);
        self.world.restore(&backup.bytes).await;
        self.world.start(recovery_faults).await;
        self.model.restore(&backup.model, &backup.erasures);
        self.model.check(&self.world).await;
    }
}

impl World {
    /// Replaces the log with the log in a backup, and repeats this until it succeeds.
    async fn restore(&mut self, backup: &[u8]) {
        for attempt in 0.. {
            assert!(attempt < 3, "a restore without a fault failed");
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

    /// Restores as `sayso restore` does.
    async fn refill(&self, backup: &[u8]) -> Result<Restored, Box<dyn Error>> {
        let clock = Arc::clone(&self.clock);
        let vault =
            Vault::open(self.stores().keys(), Arc::clone(&self.custody) as _, Arc::clone(&clock) as _)?;
        for (request, _) in vault.pending_erasures()? {
            vault.erasure_done(request).await?;
        }
        let log = self.stores().log();
        let (restored, _) =
            restore_log(backup, log.as_ref(), &vault, super::ORIGIN, clock.as_ref(), &mut |_, _| Ok(()))?;
        Ok(restored)
    }
}
