//! Reads tiles of a log (C2SP tlog-tiles), and uses them to check whether one checkpoint continues
//! another.

use sayso_proof::checkpoint::Checkpoint;
use sayso_proof::merkle::{self, Frontier, Hash, Nodes, TILE_HEIGHT};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

/// The HTTP status and body of an answer, or why there is none.
pub type Answer = Result<(u16, Vec<u8>), String>;

/// Reads a document of the log by its path below the log's address, such as `checkpoint`.
pub type Get = dyn Fn(String) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

/// Hashes of a full tile.
const FULL_WIDTH: u64 = 256;
/// The largest number of tiles for one comparison. A tree of 2^64 entries has 8 levels of tiles, and a
/// comparison needs at most three tiles at each level.
const TILES_MAX: usize = 32;

/// One tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tile {
    level: u8,
    index: u64,
    width: u64,
}

impl Tile {
    /// Its path, such as `tile/0/x001/x234/067` or `tile/1/000.p/17`.
    pub fn path(self) -> String {
        let mut groups = vec![format!("{:03}", self.index % 1000)];
        let mut higher = self.index / 1000;
        while higher > 0 {
            groups.push(format!("x{:03}", higher % 1000));
            higher /= 1000;
        }
        groups.reverse();
        let partial = if self.width < FULL_WIDTH { format!(".p/{}", self.width) } else { String::new() };
        format!("tile/{}/{}{partial}", self.level, groups.join("/"))
    }

    /// The full tile at the same place. A log may drop a partial tile once the full one exists.
    fn full(self) -> Self {
        Self { width: FULL_WIDTH, ..self }
    }
}

/// The tiles of one tree that were read so far.
struct Tiles {
    size: u64,
    read: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl Nodes for Tiles {
    /// The tile that has to be read next.
    type Error = Tile;

    fn nodes(&self, level: u8, start: u64, count: usize) -> Result<Vec<Hash>, Tile> {
        let index = start / FULL_WIDTH;
        let complete = (self.size >> level).saturating_sub(index.saturating_mul(FULL_WIDTH));
        let tile = Tile { level: level / TILE_HEIGHT, index, width: complete.min(FULL_WIDTH) };
        let hashes = self.read.get(&(tile.level, tile.index)).ok_or(tile)?;
        let first = usize::try_from(start % FULL_WIDTH).unwrap_or(usize::MAX);
        let wanted = hashes.get(first..first.saturating_add(count));
        wanted.map(<[Hash]>::to_vec).ok_or(tile)
    }
}

/// Why an older tree could not be shown to be the beginning of a newer one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unproven {
    /// The tiles match the newer checkpoint, but the tree of the older size has another root than the older
    /// checkpoint.
    Contradiction,
    /// The tiles do not match the newer checkpoint.
    WrongTiles,
    /// The log does not have a tile: its path.
    Missing(String),
    /// The log does not answer.
    Unreachable(String),
}

/// Checks that the tree of `newer` begins with the tree of `older`, with tiles that the log serves.
pub(super) async fn compare(get: &Get, older: &Checkpoint, newer: &Checkpoint) -> Result<(), Unproven> {
    if older.size == newer.size {
        return if older.root == newer.root { Ok(()) } else { Err(Unproven::Contradiction) };
    }
    if older.size == 0 {
        return if older.root == merkle::empty_root() { Ok(()) } else { Err(Unproven::Contradiction) };
    }
    let mut tiles = Tiles { size: newer.size, read: BTreeMap::new() };
    for _ in 0..TILES_MAX {
        match compare_with(&tiles, older, newer) {
            Ok(verdict) => return verdict,
            Err(tile) => {
                let hashes = read(get, tile).await?;
                tiles.read.insert((tile.level, tile.index), hashes);
            }
        }
    }
    Err(Unproven::WrongTiles)
}

/// The verdict, or the tile that it needs.
fn compare_with(tiles: &Tiles, older: &Checkpoint, newer: &Checkpoint) -> Result<Result<(), Unproven>, Tile> {
    let served = Frontier::load(newer.size, tiles)?.root();
    let served_older = Frontier::load(older.size, tiles)?.root();
    let proof = merkle::consistency_proof(older.size, newer.size, tiles)?;
    let proven = merkle::verify_consistency(older.size, &served_older, newer.size, &newer.root, &proof);
    Ok(match proven {
        Ok(()) if served == newer.root && served_older == older.root => Ok(()),
        // The older part of the newer tree is proven, and it is not the older tree.
        Ok(()) if served == newer.root => Err(Unproven::Contradiction),
        _ => Err(Unproven::WrongTiles),
    })
}

async fn read(get: &Get, tile: Tile) -> Result<Vec<Hash>, Unproven> {
    let mut answer = get(tile.path()).await.map_err(Unproven::Unreachable)?;
    if answer.0 == 404 && tile.width < FULL_WIDTH {
        answer = get(tile.full().path()).await.map_err(Unproven::Unreachable)?;
    }
    match answer {
        (200, bytes) => {
            let (hashes, rest) = bytes.as_chunks::<32>();
            let is_whole = rest.is_empty() && hashes.len() as u64 >= tile.width;
            if is_whole { Ok(hashes.to_vec()) } else { Err(Unproven::WrongTiles) }
        }
        (404 | 410, _) => Err(Unproven::Missing(tile.path())),
        (status, _) => Err(Unproven::Unreachable(format!("HTTP status {status} for {}", tile.path()))),
    }
}
