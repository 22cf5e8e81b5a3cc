//! What can be known about workers, jobs, queues and dead letters, from the journal, the broker and
//! the store. The command line and the HTTP API show it: they are two faces of this room.
//!
//! Nothing here prints, and nothing here knows HTTP. What is shown as JSON is a type with a schema.

mod dead;
mod error;
mod fleet;
mod follow;
mod index;
mod jobs;
mod orders;
mod outcome;
mod overview;
mod queues;
mod segments;
mod series;
mod states;
mod story;
mod workers;

pub use dead::{
    DeadEntry, DeadReport, Key, MAX_SEARCHED, OldLetters, Replayed, body_text, find as find_letter,
    goes_to, list as list_letters, open as open_letters, remove_old as remove_old_letters, replay,
    replay_all,
};
pub use error::FactsError;
pub use fleet::{Fleet, Obstacle, look as look_at_fleet};
pub use follow::{Following, LineSink, Tracked, follow};
pub use index::{JobIndex, Looked};
pub use jobs::{
    Found, JobReport, JobsQuery, MAX_LISTED, candidates, find as find_jobs, has_failed,
};
pub use orders::{Start, checked_stop, obstacle, publish_stop};
pub use outcome::{Known, find as find_outcome};
pub use overview::{LiveJob, Lookout, Overview};
pub use queues::{QueueReport, QueuesReport, look as look_at_queues};
pub use segments::{SegmentReport, SegmentState, look as look_at_segments};
pub use series::{LastProgress, SeriesList, SeriesPoint, SeriesReport, read as read_series};
pub use states::{StateReport, clear as clear_state, set as set_state};
pub use story::measured::complete as complete_story;
pub use story::report::{EndReport, StoryReport};
pub use story::{Queues, Story, ask, read as read_story, result_of, verdict_of};
pub use workers::{WorkerReport, by_worker};
