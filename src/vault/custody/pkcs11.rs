//! Root keys in a PKCS#11 token: a hardware security module, or, for tests only, SoftHSM.
//!
//! A root key is an AES-256 object that is made in the token and never leaves it (sensitive and not
//! extractable). The object has the label [`LABEL`]. Its `CKA_ID` is the *key epoch*: how often the root
//! key had been replaced before it. With this object, the token itself wraps (encrypts) the key of the top
//! page of the key tree (`CKM_AES_GCM`). From the top page, the keys of all people's data are reached.
//! Destroying the object destroys the root key. Whether the creation or destruction of an object survives
//! a power failure depends on the token. SoftHSM keeps objects in files, and deletes the file of a
//! destroyed object. The blocks of the deleted file can still be read from the disk, so an operator gets a
//! warning.

use super::root_custody::{CustodyError, KeyEpoch, RootCustody};
use super::software::NONCE_BYTES;
use crate::clock::Clock;
use crate::secret;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use std::io::Error;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use zeroize::Zeroizing;

/// Label of the root keys in the token.
const LABEL: &[u8] = b"sayso root key";
/// Beginning of the manufacturer of a token of SoftHSM.
const SOFTHSM: &str = "SoftHSM";
const SOFTHSM_WARNING: &str = "the root key is in SoftHSM, which is for tests only: destroyed keys can be recovered \
                               from the disk, so erasures are not final; use a hardware security module";
const KEY_BYTES: u64 = 32;
const TAG_BITS: u64 = 128;

/// Root keys in a token.
pub struct TokenCustody {
    session: Mutex<Session>,
    /// Keeps the module loaded and initialized.
    _module: Pkcs11,
}

fn refused(error: cryptoki::error::Error) -> CustodyError {
    CustodyError::Refused(error.to_string())
}

impl TokenCustody {
    /// Loads a module, and opens a session as the user of the token with this label.
    ///
    /// # Errors
    /// The module can't be loaded, no token has this label, the PIN file is readable by others or belongs to
    /// another user, or the PIN is wrong.
    pub fn open(module: &Path, token: &str, pin_file: &Path) -> Result<Self, CustodyError> {
        secret::check_private(&std::fs::metadata(pin_file)?)
            .map_err(|error| Error::new(error.kind(), format!("PIN file: {error}")))?;
        let pin = Zeroizing::new(std::fs::read_to_string(pin_file)?);
        let module = Pkcs11::new(module).map_err(refused)?;
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).map_err(refused)?;
        for slot in module.get_slots_with_initialized_token().map_err(refused)? {
            let found = module.get_token_info(slot).map_err(refused)?;
            if found.label() == token {
                if found.manufacturer_id().starts_with(SOFTHSM) {
                    tracing::warn!("{SOFTHSM_WARNING}");
                }
                let session = module.open_rw_session(slot).map_err(refused)?;
                let pin = AuthPin::new(pin.trim_end_matches('\n').into());
                session.login(UserType::User, Some(&pin)).map_err(refused)?;
                return Ok(Self { session: Mutex::new(session), _module: module });
            }
        }
        Err(CustodyError::Refused(format!("no token has the label `{token}`")))
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn objects(session: &Session, epoch: Option<KeyEpoch>) -> Result<Vec<ObjectHandle>, CustodyError> {
    let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(LABEL.to_vec())];
    template.extend(epoch.map(|epoch| Attribute::Id(epoch.to_be_bytes().to_vec())));
    session.find_objects(&template).map_err(refused)
}

/// Finds the one root key of this epoch.
fn root_key(session: &Session, epoch: KeyEpoch) -> Result<ObjectHandle, CustodyError> {
    match objects(session, Some(epoch))?.as_slice() {
        [one] => Ok(*one),
        [] => Err(CustodyError::Missing(epoch)),
        _ => Err(CustodyError::Refused(format!("the token has two root keys of epoch {epoch}"))),
    }
}

fn destroy(session: &Session, epoch: KeyEpoch) -> Result<(), CustodyError> {
    for object in objects(session, Some(epoch))? {
        session.destroy_object(object).map_err(refused)?;
    }
    if objects(session, Some(epoch))?.is_empty() {
        Ok(())
    } else {
        Err(CustodyError::Refused(format!("the token did not destroy the root key of epoch {epoch}")))
    }
}

impl RootCustody for TokenCustody {
    fn key_epochs(&self) -> Result<Vec<KeyEpoch>, CustodyError> {
        let session = self.session();
        let mut epochs = Vec::new();
        for object in objects(&session, None)? {
            for attribute in session.get_attributes(object, &[AttributeType::Id]).map_err(refused)? {
                if let Attribute::Id(id) = attribute
                    && let Ok(id) = id.as_slice().try_into()
                {
                    epochs.push(u64::from_be_bytes(id));
                }
            }
        }
        epochs.sort_unstable();
        Ok(epochs)
    }

    fn make(&self, epoch: KeyEpoch, _clock: &dyn Clock) -> Result<(), CustodyError> {
        let session = self.session();
        destroy(&session, epoch)?;
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(KEY_BYTES.into()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Label(LABEL.to_vec()),
            Attribute::Id(epoch.to_be_bytes().to_vec()),
        ];
        session.generate_key(&Mechanism::AesKeyGen, &template).map(|_| ()).map_err(refused)
    }

    fn wrap(&self, epoch: KeyEpoch, key: &[u8; 32], clock: &dyn Clock) -> Result<Vec<u8>, CustodyError> {
        let session = self.session();
        let root = root_key(&session, epoch)?;
        let mut nonce = [0; NONCE_BYTES];
        clock.fill(&mut nonce);
        let (mut iv, bound) = (nonce, epoch.to_be_bytes());
        let params = GcmParams::new(&mut iv, &bound, TAG_BITS.into()).map_err(refused)?;
        let wrapped = session.encrypt(&Mechanism::AesGcm(params), root, key).map_err(refused)?;
        Ok([nonce.as_slice(), &wrapped].concat())
    }

    fn unwrap(&self, epoch: KeyEpoch, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        let (nonce, wrapped) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or(CustodyError::Unwrap)?;
        let session = self.session();
        let root = root_key(&session, epoch)?;
        let (mut iv, bound) = (*nonce, epoch.to_be_bytes());
        let params = GcmParams::new(&mut iv, &bound, TAG_BITS.into()).map_err(refused)?;
        let opened = session.decrypt(&Mechanism::AesGcm(params), root, wrapped);
        let opened = Zeroizing::new(opened.map_err(|_| CustodyError::Unwrap)?);
        opened.as_slice().try_into().map(Zeroizing::new).map_err(|_| CustodyError::Unwrap)
    }

    fn destroy(&self, epoch: KeyEpoch) -> Result<(), CustodyError> {
        destroy(&self.session(), epoch)
    }
}
