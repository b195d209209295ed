//! An agent that has no descriptors left (EMFILE).

use crate::case::Case;
use crate::keys::{blob, sign};

/// So many more than there are now.
const SPARE: u64 = 4;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::unnoticed("no descriptor is free, and a hundred connections wait for one", |attack| {
        let target = attack.target();
        let Some(open) = target.descriptors() else { return };
        let before = target.limit_descriptors(Some(open + SPARE));
        let mut lines: Vec<_> = (0..100).filter_map(|_| attack.connect()).collect();
        // What needs a descriptor of its own fails or waits, and nothing else does.
        if let Some(line) = lines.first_mut() {
            line.say(sign(&blob(&attack.keys().plain), b"anything", 0));
        }
        drop(attack.connect());
        target.limit_descriptors(before);
        drop(lines);
    })]
}
