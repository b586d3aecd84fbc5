//! How far retention passes have come.

use crate::domain::ids::Handle;

/// How far retention passes have come in each index: the last key that is done, or none for the beginning.
#[derive(Default)]
pub(crate) struct RetentionCursor {
    pub attributes: Option<Vec<u8>>,
    pub decisions: Option<Vec<u8>>,
    pub artifacts: Option<Vec<u8>>,
    pub subjects: Option<Handle>,
}
