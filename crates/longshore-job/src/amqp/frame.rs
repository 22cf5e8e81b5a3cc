//! Frames as they arrive: bodies pass, methods and content headers are held until they are whole.

use std::collections::HashMap;

use super::{content, method};

/// Type, channel and size, before each payload.
const HEAD: usize = 7;

/// The byte after each payload.
const FRAME_END: u8 = 0xce;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// The first byte of a protocol header. A broker sends one to say that it speaks another protocol.
const PROTOCOL: u8 = b'A';
const PROTOCOL_HEADER: usize = 8;

/// The largest frame that is held, in bytes: eight times what `RabbitMQ` proposes by default.
const MAX_HELD: usize = 1024 * 1024;

/// The part that is read of a content header that is not held: class, weight and the size of the
/// body.
const BEGINNING: usize = 12;

/// The size of frames until the broker proposes one.
const DEFAULT_FRAME_MAX: usize = 128 * 1024;

/// The broker sent a method of a size that no method has.
#[derive(Debug, thiserror::Error)]
#[error("the broker sent a method of {size} bytes, more than the {MAX_HELD} that one may have")]
pub struct Oversized {
    size: usize,
}

/// Passes on the bytes of a connection, and changes those that lapin could not read.
pub struct Filter {
    state: State,
    /// The part that has arrived of the frame that is held.
    held: Vec<u8>,
    /// The size of frames that the URL asks for; 0 if it asks for none.
    wanted_frame_max: usize,
    frame_max: usize,
    /// By channel, how much is still to come of a body that lapin does not expect.
    withheld: HashMap<u16, u64>,
}

enum State {
    /// Between two frames, or in the head of one.
    Head,
    /// In a frame that is held.
    Hold { size: usize },
    /// At the beginning of a content header that is too large to be held.
    CutOff { size: usize },
    /// In bytes that pass.
    Pass { left: usize },
    /// In bytes that do not pass.
    Drop { left: usize },
    /// This is not AMQP. lapin says so at the next byte, whatever follows.
    Foreign,
}

impl Filter {
    /// A filter for a new connection. `frame_max` is the size that the client asks for; 0 if it
    /// asks for none.
    #[must_use]
    pub fn new(frame_max: u32) -> Self {
        Self {
            state: State::Head,
            held: Vec::new(),
            wanted_frame_max: usize::try_from(frame_max).unwrap_or(usize::MAX),
            frame_max: DEFAULT_FRAME_MAX,
            withheld: HashMap::new(),
        }
    }

    /// Takes the bytes that have arrived, and adds to `out` the bytes that lapin may see.
    ///
    /// # Errors
    /// See [`Oversized`]. The connection cannot be used any more.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Oversized> {
        while !input.is_empty() {
            match self.state {
                State::Head => {
                    self.hold(&mut input, HEAD);
                    self.begin(out)?;
                }
                State::Hold { size } => {
                    if self.hold(&mut input, HEAD + size + 1) {
                        self.finish(out);
                        self.held.clear();
                        self.state = State::Head;
                    }
                }
                State::CutOff { size } => {
                    if self.hold(&mut input, HEAD + BEGINNING) {
                        let channel = self.channel();
                        let rewritten = content::cut_off(&self.held[HEAD..], size, self.room());
                        self.replace(channel, &rewritten, out);
                        self.held.clear();
                        self.state = State::Drop { left: size - BEGINNING + 1 };
                    }
                }
                State::Pass { left } => {
                    let taken = take(&mut input, left);
                    out.extend_from_slice(taken);
                    self.state = after(left - taken.len(), |left| State::Pass { left });
                }
                State::Drop { left } => {
                    let taken = take(&mut input, left).len();
                    self.state = after(left - taken, |left| State::Drop { left });
                }
                State::Foreign => {
                    out.extend_from_slice(input);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Adds to the held frame up to `whole` bytes. Returns whether the frame is complete.
    fn hold(&mut self, input: &mut &[u8], whole: usize) -> bool {
        let missing = whole - self.held.len();
        self.held.extend_from_slice(take(input, missing));
        self.held.len() == whole
    }

    fn channel(&self) -> u16 {
        self.held.get(1..).and_then(|rest| rest.first_chunk()).map_or(0, |c| u16::from_be_bytes(*c))
    }

    /// The largest payload that lapin takes.
    fn room(&self) -> usize {
        self.frame_max - HEAD - 1
    }

    /// Decides about a frame by its head, if all of the head has arrived.
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), Oversized> {
        let kind = self.held[0];
        if ![METHOD, HEADER, BODY, HEARTBEAT].contains(&kind) {
            let left = PROTOCOL_HEADER.saturating_sub(self.held.len());
            self.release(out);
            self.state = match kind {
                PROTOCOL => after(left, |left| State::Pass { left }),
                _ => State::Foreign,
            };
            return Ok(());
        }
        let Some(size) = self.held.get(3..).and_then(|rest| rest.first_chunk()) else {
            return Ok(());
        };
        let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX - HEAD - 1);
        self.state = match kind {
            METHOD if size > MAX_HELD => return Err(Oversized { size }),
            HEADER if size > MAX_HELD => State::CutOff { size },
            METHOD | HEADER => State::Hold { size },
            BODY if self.is_withheld(size) => {
                self.held.clear();
                State::Drop { left: size + 1 }
            }
            _ => {
                self.release(out);
                State::Pass { left: size + 1 }
            }
        };
        Ok(())
    }

    fn release(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    /// Whether this frame belongs to a body that lapin does not expect.
    fn is_withheld(&mut self, size: usize) -> bool {
        let channel = self.channel();
        let Some(left) = self.withheld.get_mut(&channel) else { return false };
        *left = left.saturating_sub(u64::try_from(size).unwrap_or(u64::MAX));
        if *left == 0 {
            self.withheld.remove(&channel);
        }
        true
    }

    /// Passes on the frame that is held.
    fn finish(&mut self, out: &mut Vec<u8>) {
        // lapin looks at the last byte before it looks at the payload.
        if self.held.last() != Some(&FRAME_END) {
            self.release(out);
            return;
        }
        let channel = self.channel();
        let end = self.held.len() - 1;
        if self.held[0] == METHOD {
            let payload = &mut self.held[HEAD..end];
            method::make_readable(payload);
            if let Some(proposed) = method::proposed_frame_max(payload) {
                self.agree(proposed);
            }
            self.withheld.remove(&channel);
        } else if let Some(rewritten) = content::make_readable(&self.held[HEAD..end], self.room()) {
            self.replace(channel, &rewritten, out);
            return;
        }
        self.release(out);
    }

    fn replace(&mut self, channel: u16, rewritten: &content::Rewritten, out: &mut Vec<u8>) {
        let payload = &rewritten.payload;
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        out.push(HEADER);
        out.extend(channel.to_be_bytes());
        out.extend(size.to_be_bytes());
        out.extend(payload);
        out.push(FRAME_END);
        if rewritten.withheld > 0 {
            self.withheld.insert(channel, rewritten.withheld);
        }
    }

    /// The size of frames that lapin will agree on: the smaller one of what both sides ask for.
    fn agree(&mut self, proposed: u32) {
        /// The smallest size that AMQP allows.
        const FRAME_MIN: usize = 4096;
        let proposed = usize::try_from(proposed).unwrap_or(usize::MAX);
        let asked = [proposed, self.wanted_frame_max].into_iter().filter(|size| *size > 0);
        self.frame_max = asked.min().unwrap_or(usize::MAX).max(FRAME_MIN);
    }
}

/// The next state, after that many bytes.
fn after(left: usize, more: impl FnOnce(usize) -> State) -> State {
    if left == 0 { State::Head } else { more(left) }
}

/// Takes up to `most` bytes from the front of `input`.
fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
