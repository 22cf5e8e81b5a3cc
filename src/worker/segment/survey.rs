//! What a worker knows of the segments of others, and when it asks the store for more. An idle worker
//! asks about once a minute, however many segments there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::storage::{ETag, OwnedSegment};

/// The pause between two listings of the segments, unless a new one shows itself before.
const LIST: Duration = Duration::from_mins(1);

/// At least this long between two listings.
const LIST_SOONEST: Duration = Duration::from_secs(5);

/// The pause between two listings of what is in the segments. A former owner may still write there.
const LIST_CONTENT: Duration = Duration::from_mins(10);

/// Which segments there are, and which of them need no look.
#[derive(Default)]
pub(super) struct Survey {
    known: BTreeMap<u32, Option<ETag>>,
    /// Free ones that were empty, or whose owner cannot be read, under this version of their
    /// owner's record. They stay so until a worker holds them, and that writes a new version.
    settled: BTreeMap<u32, ETag>,
    /// Those whose mailbox got a message of ours, until they are seen to be held or empty.
    written_to: BTreeSet<u32>,
    listed: Option<Instant>,
    content_listed: Option<Instant>,
}

impl Survey {
    /// Whether the segments are to be listed.
    pub(super) fn is_due(&self) -> bool {
        self.listed.is_none_or(|at| at.elapsed() >= LIST)
    }

    /// Whether what is in the segments is to be listed.
    pub(super) fn is_content_due(&mut self) -> bool {
        let begun = *self.content_listed.get_or_insert_with(Instant::now);
        begun.elapsed() >= LIST_CONTENT
    }

    /// The segment that the next worker without one takes: the first that nobody is known to hold. If
    /// it is held, a listing is due.
    pub(super) fn next_taken(&self, max_segments: u32) -> Option<u32> {
        let is_too_soon = self.listed.is_none_or(|at| at.elapsed() < LIST_SOONEST);
        if is_too_soon {
            return None;
        }
        let is_free =
            |segment: &u32| !self.known.contains_key(segment) || self.settled.contains_key(segment);
        (0..max_segments).find(is_free)
    }

    /// Takes in a listing, or that there was none.
    pub(super) fn listed(&mut self, segments: Option<Vec<OwnedSegment>>) {
        self.listed = Some(Instant::now());
        let Some(segments) = segments else { return };
        self.known = segments.into_iter().map(|owned| (owned.segment, owned.version)).collect();
        let known = &self.known;
        self.settled.retain(|segment, version| {
            known.get(segment).is_some_and(|now| now.as_ref() == Some(version))
        });
    }

    /// Takes in in which segments there is something.
    pub(super) fn content_listed(&mut self, in_use: Option<&BTreeSet<u32>>) {
        self.content_listed = Some(Instant::now());
        if let Some(in_use) = in_use {
            self.settled.retain(|segment, _| !in_use.contains(segment));
        }
    }

    /// Notes that a segment needs no look while its owner's record has the version that was listed.
    pub(super) fn settle(&mut self, segment: u32) {
        self.written_to.remove(&segment);
        if let Some(Some(version)) = self.known.get(&segment) {
            self.settled.insert(segment, version.clone());
        }
    }

    /// Notes that we sent messages to these segments.
    pub(super) fn wrote_to(&mut self, segments: BTreeSet<u32>) {
        self.written_to.extend(segments);
    }

    /// The segments to look at first, because a message of ours may wait there.
    pub(super) fn written_to(&self) -> &BTreeSet<u32> {
        &self.written_to
    }

    /// Notes that a segment is held. Returns whether a message of ours may have waited there.
    pub(super) fn was_written_to(&mut self, segment: u32) -> bool {
        self.written_to.remove(&segment)
    }

    /// The other segments to look at.
    pub(super) fn candidates(&self) -> BTreeSet<u32> {
        let is_open = |segment: &u32| {
            !self.settled.contains_key(segment) && !self.written_to.contains(segment)
        };
        self.known.keys().copied().filter(is_open).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(segments: &[(u32, &str)]) -> Vec<OwnedSegment> {
        let owned = segments.iter().map(|(segment, version)| OwnedSegment {
            segment: *segment,
            version: Some(ETag((*version).to_owned())),
        });
        owned.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_segment_is_left_alone_until_its_owner_changes_or_something_is_in_it() {
        let mut survey = Survey::default();
        assert!(survey.is_due() && survey.next_taken(9).is_none());
        survey.listed(Some(owned(&[(0, "a"), (1, "a"), (3, "a")])));
        for segment in [0, 1, 3] {
            survey.settle(segment);
        }
        assert!(survey.candidates().is_empty() && !survey.is_due());
        survey.listed(Some(owned(&[(0, "a"), (1, "b"), (3, "a")])));
        assert_eq!(survey.candidates(), BTreeSet::from([1]));
        survey.content_listed(Some(&BTreeSet::from([3])));
        assert_eq!(survey.candidates(), BTreeSet::from([1, 3]));
        // A listing that failed changes nothing.
        survey.listed(None);
        survey.content_listed(None);
        assert_eq!(survey.candidates(), BTreeSet::from([1, 3]));
    }

    #[tokio::test(start_paused = true)]
    async fn it_lists_once_a_minute_and_sooner_only_for_a_new_segment() {
        let mut survey = Survey::default();
        survey.listed(Some(owned(&[(0, "a"), (1, "a"), (3, "a")])));
        tokio::time::advance(LIST_SOONEST).await;
        assert!(!survey.is_due());
        assert_eq!((survey.next_taken(9), survey.next_taken(2)), (Some(2), None));
        survey.settle(1);
        assert_eq!(survey.next_taken(9), Some(1));
        tokio::time::advance(LIST).await;
        assert!(survey.is_due() && !survey.is_content_due());
        tokio::time::advance(LIST_CONTENT).await;
        assert!(survey.is_content_due());
        survey.content_listed(None);
        assert!(!survey.is_content_due());
    }

    #[tokio::test(start_paused = true)]
    async fn a_segment_that_got_a_message_is_looked_at_although_it_was_empty() {
        let mut survey = Survey::default();
        survey.listed(Some(owned(&[(0, "a"), (1, "a")])));
        survey.settle(0);
        survey.wrote_to(BTreeSet::from([0, 1]));
        assert_eq!((survey.written_to().len(), survey.candidates().len()), (2, 0));
        survey.settle(0);
        assert!(survey.was_written_to(1) && !survey.was_written_to(1));
        assert!(survey.written_to().is_empty());
        assert_eq!(survey.candidates(), BTreeSet::from([1]));
    }

    #[tokio::test(start_paused = true)]
    async fn without_versions_in_the_listing_every_segment_is_looked_at() {
        let mut survey = Survey::default();
        survey.listed(Some(vec![OwnedSegment { segment: 0, version: None }]));
        survey.settle(0);
        assert_eq!(survey.candidates(), BTreeSet::from([0]));
    }
}
