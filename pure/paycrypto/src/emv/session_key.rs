//! Session keys from ICC master keys.

use zeroize::Zeroizing;

use crate::block::{AES_BLOCK_BYTES, BlockCipher, DES_BLOCK_BYTES};
use crate::emv::{Atc, UnpredictableNumber, require_double};
use crate::key_material::set_odd_parity;
use crate::{CryptoError, TdesKey};

const LEFT_MARK: u8 = 0xF0;
const RIGHT_MARK: u8 = 0x0F;
const MARKED_BYTE: usize = 2;

type Half = [u8; DES_BLOCK_BYTES];

fn enciphered_halves(key: &TdesKey, left: Half, right: Half) -> Zeroizing<[u8; 16]> {
    let mut halves = Zeroizing::new([left, right]);
    key.encrypt_blocks(&mut *halves);
    let mut bytes = Zeroizing::new([0; 16]);
    bytes.copy_from_slice(halves.as_flattened());
    bytes
}

fn with_odd_parity(mut bytes: Zeroizing<[u8; 16]>) -> TdesKey {
    set_odd_parity(&mut *bytes);
    TdesKey::from_double(&bytes)
}

/// EMV common session key (Book 2 annex A1.3.1) for diversification value `r`; byte 2 of it is overwritten.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn common_session_key(icc_master_key: &TdesKey, r: &Half) -> Result<TdesKey, CryptoError> {
    require_double(icc_master_key)?;
    let [left, right] = common_session_key_inputs(r);
    Ok(with_odd_parity(enciphered_halves(icc_master_key, left, right)))
}

/// The two blocks that become the halves of a common session key. Not secret.
#[must_use]
pub fn common_session_key_inputs(r: &Half) -> [Half; 2] {
    let (mut left, mut right) = (*r, *r);
    left[MARKED_BYTE] = LEFT_MARK;
    right[MARKED_BYTE] = RIGHT_MARK;
    [left, right]
}

/// Common session key with `r` = ATC and zeros: EMV common core and Visa CVN 18.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn common_session_key_for_atc(icc_master_key: &TdesKey, atc: Atc) -> Result<TdesKey, CryptoError> {
    common_session_key(icc_master_key, &[atc[0], atc[1], 0, 0, 0, 0, 0, 0])
}

/// Common session key with `r` = ATC, two zero bytes, unpredictable number: Mastercard M/Chip.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn common_session_key_for_atc_and_un(
    icc_master_key: &TdesKey,
    atc: Atc,
    un: UnpredictableNumber,
) -> Result<TdesKey, CryptoError> {
    common_session_key(icc_master_key, &[atc[0], atc[1], 0, 0, un[0], un[1], un[2], un[3]])
}

/// Visa's script session key (VIS 1.6 annex B): the master key's halves xored with ATC and its complement.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn visa_script_session_key(icc_master_key: &TdesKey, atc: Atc) -> Result<TdesKey, CryptoError> {
    require_double(icc_master_key)?;
    let mut bytes = Zeroizing::new([0; 16]);
    bytes.copy_from_slice(icc_master_key.expose_bytes());
    for (i, byte) in atc.into_iter().enumerate() {
        bytes[6 + i] ^= byte;
        bytes[14 + i] ^= !byte;
    }
    Ok(with_odd_parity(bytes))
}

/// PBOC 3.0 session key (JR/T 0025.7 §5.2): ATC and its complement, right aligned, enciphered. Parity stays as it
/// falls. Not the EMV common session key, whatever the cards look like otherwise.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`].
pub fn pboc_session_key(icc_master_key: &TdesKey, atc: Atc) -> Result<TdesKey, CryptoError> {
    require_double(icc_master_key)?;
    let [left, right] = pboc_session_key_inputs(atc);
    let bytes = enciphered_halves(icc_master_key, left, right);
    Ok(TdesKey::from_double(&bytes))
}

/// The two blocks that become the halves of a PBOC session key. Not secret.
#[must_use]
pub fn pboc_session_key_inputs(atc: Atc) -> [Half; 2] {
    [[0, 0, 0, 0, 0, 0, atc[0], atc[1]], [0, 0, 0, 0, 0, 0, !atc[0], !atc[1]]]
}

/// Shape of the EMV2000 session key tree (EMV 4.1 Book 2 annex A1.3.2, withdrawn since).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTree {
    /// Levels below the root.
    pub height: u8,
    /// Children of each node.
    pub branch_factor: u8,
    /// Parent of the root.
    pub initial_vector: [u8; AES_BLOCK_BYTES],
}

impl Default for SessionTree {
    fn default() -> Self {
        Self { height: 8, branch_factor: 4, initial_vector: [0; AES_BLOCK_BYTES] }
    }
}

/// A key of the session key tree. Wiped on drop.
pub type TreeNode = Zeroizing<[u8; 16]>;

fn xored(left: &[u8; 16], right: &[u8; 16]) -> TreeNode {
    Zeroizing::new(core::array::from_fn(|i| left[i] ^ right[i]))
}

/// A child: its grandparent's halves, marked with the child's number, enciphered under its parent.
fn tree_child(parent: &TreeNode, grandparent: &TreeNode, number: u32, branch_factor: u32) -> TreeNode {
    let mark = u64::from(number % branch_factor);
    let halves = grandparent.as_chunks::<DES_BLOCK_BYTES>().0;
    let left = u64::from_be_bytes(halves[0]) ^ mark;
    let right = u64::from_be_bytes(halves[1]) ^ mark ^ u64::from(LEFT_MARK);
    let key = TdesKey::from_double(parent);
    enciphered_halves(&key, left.to_be_bytes(), right.to_be_bytes())
}

impl SessionTree {
    fn has_a_leaf_for_every_atc(&self) -> bool {
        u64::from(self.branch_factor)
            .checked_pow(u32::from(self.height))
            .is_none_or(|leaves| leaves >= u64::from(u16::MAX))
    }
}

/// EMV2000 session key: walk from the root to the leaf that the ATC numbers.
///
/// # Errors
/// [`CryptoError::DoubleLengthNeeded`]; [`CryptoError::Parameter`] for a tree with fewer than 65 535 leaves.
pub fn tree_session_key(icc_master_key: &TdesKey, atc: Atc, tree: &SessionTree) -> Result<TdesKey, CryptoError> {
    let (path, grandparent) = walk_tree(icc_master_key, atc, tree)?;
    let leaf = path.last().ok_or(CryptoError::Parameter)?;
    Ok(with_odd_parity(xored(leaf, &grandparent)))
}

/// The nodes below the root on the way to the leaf that the ATC numbers, the leaf last. As secret as keys; public so
/// that every step of a test key's derivation can be shown.
///
/// # Errors
/// As [`tree_session_key`].
pub fn session_tree_path(icc_master_key: &TdesKey, atc: Atc, tree: &SessionTree) -> Result<Vec<TreeNode>, CryptoError> {
    walk_tree(icc_master_key, atc, tree).map(|(path, _)| path)
}

/// The path, and the leaf's grandparent.
fn walk_tree(icc_master_key: &TdesKey, atc: Atc, tree: &SessionTree) -> Result<(Vec<TreeNode>, TreeNode), CryptoError> {
    require_double(icc_master_key)?;
    if !tree.has_a_leaf_for_every_atc() {
        return Err(CryptoError::Parameter);
    }
    let leaf = u32::from(u16::from_be_bytes(atc));
    let branch_factor = u32::from(tree.branch_factor);
    let mut node: TreeNode = Zeroizing::new([0; 16]);
    node.copy_from_slice(icc_master_key.expose_bytes());
    let mut parent: TreeNode = Zeroizing::new(tree.initial_vector);
    let mut grandparent = parent.clone();
    let mut path = Vec::with_capacity(usize::from(tree.height));
    for levels_below in (0..u32::from(tree.height)).rev() {
        // Deep levels of a tall tree number their only reachable node 0.
        let divisor = branch_factor.checked_pow(levels_below);
        let number = divisor.map_or(0, |divisor| leaf / divisor);
        let child = tree_child(&node, &parent, number, branch_factor);
        grandparent = core::mem::replace(&mut parent, core::mem::replace(&mut node, child));
        path.push(node.clone());
    }
    Ok((path, grandparent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> TdesKey {
        TdesKey::new(&0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210_u128.to_be_bytes()).unwrap()
    }

    #[test]
    fn pboc_differs_from_common() {
        let atc = [0x00, 0x1C];
        let pboc = pboc_session_key(&master(), atc).unwrap();
        assert!(!pboc.same_key(&common_session_key_for_atc(&master(), atc).unwrap()));
    }

    #[test]
    fn small_trees_are_refused() {
        let tree = SessionTree { height: 2, ..SessionTree::default() };
        let refused = tree_session_key(&master(), [0, 1], &tree).err();
        assert_eq!(refused, Some(CryptoError::Parameter));
    }

    #[test]
    fn tall_trees_do_not_overflow() {
        let tree = SessionTree { height: 255, branch_factor: 255, initial_vector: [9; 16] };
        assert!(tree_session_key(&master(), [0xFF, 0xFF], &tree).is_ok());
    }
}
