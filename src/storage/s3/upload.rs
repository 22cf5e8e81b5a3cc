//! Uploads a file into an object: in one request if it is small, else in parts.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{TryStreamExt as _, stream};
use http::HeaderMap;
use s3::command::{Command, Multipart};
use s3::error::S3Error;
use s3::serde_types::{CompleteMultipartUploadData, Part};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::fault::{Fault, element};
use super::request::{Place, description, etag_of, path, transfer_time};

/// The size of an upload's parts, in bytes; a smaller file is one plain PUT.
pub(super) const PART_BYTES: u64 = 8 * 1024 * 1024;

/// Parts of one upload in flight; each takes its size twice in memory.
const CONCURRENT_PARTS: usize = 2;

/// An upload in parts.
struct Sending<'a> {
    path: String,
    content_type: &'a str,
    /// What the object is described by.
    headers: Option<HeaderMap>,
    /// Hears how many bytes are there.
    sent: &'a (dyn Fn(u64) + Send + Sync),
}

impl Place {
    pub(super) async fn upload(
        &self,
        key: &str,
        from: &Path,
        content_type: &str,
        sha256: Option<&str>,
        sent: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Fault> {
        let headers = sha256.map(description).transpose()?;
        let mut file = File::open(from).await.map_err(Fault::Local)?;
        let first = next_part(&mut file).await?;
        if (first.len() as u64) < PART_BYTES {
            let custom_headers = headers;
            let content = first.as_slice();
            let command =
                Command::PutObject { content, content_type, custom_headers, multipart: None };
            return self.send(&path(key), command, self.part_time()).await.map(drop);
        }
        let sending = Sending { path: path(key), content_type, headers, sent };
        self.upload_parts(&sending, file, first).await
    }

    async fn upload_parts(
        &self,
        sending: &Sending<'_>,
        file: File,
        first: Vec<u8>,
    ) -> Result<(), Fault> {
        let Sending { path, content_type, .. } = sending;
        let command = Command::InitiateMultipartUpload { content_type };
        let headers = sending.headers.clone();
        let begun = self.ask_with(headers, path, command, self.part_time()).await?;
        let id = element(&begun, "UploadId")
            .ok_or_else(|| Fault::Malformed("an upload in parts was given no id".to_owned()))?;
        let uploaded = async {
            let parts = self.send_parts(sending, file, first, id).await?;
            self.complete(path, id, parts).await
        };
        let uploaded = uploaded.await;
        if uploaded.is_err() {
            // Parts that nobody completes take space for ever. If this fails, too, nothing helps.
            let command = Command::AbortMultipartUpload { upload_id: id };
            if let Err(fault) = self.send(path, command, self.part_time()).await {
                tracing::debug!(?fault, "gave up an upload in parts");
            }
        }
        uploaded
    }

    async fn send_parts(
        &self,
        sending: &Sending<'_>,
        file: File,
        first: Vec<u8>,
        id: &str,
    ) -> Result<Vec<Part>, Fault> {
        let Sending { path, content_type, sent, .. } = sending;
        let done = AtomicU64::new(0);
        let done = &done;
        let next = async |(mut file, ready, number): (File, Option<Vec<u8>>, u32)| {
            let bytes = match ready {
                Some(bytes) => bytes,
                None => next_part(&mut file).await?,
            };
            Ok((!bytes.is_empty()).then_some(((number, bytes), (file, None, number + 1))))
        };
        stream::try_unfold((file, Some(first), 1), next)
            .map_ok(|(part_number, bytes)| async move {
                let command = part(&bytes, content_type, Multipart::new(part_number, id));
                let answer = self.send(path, command, self.part_time()).await?;
                let bytes = bytes.len() as u64;
                sent(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
                Ok(Part { part_number, etag: etag_of(answer.headers())?.0 })
            })
            .try_buffered(CONCURRENT_PARTS)
            .try_collect()
            .await
    }

    async fn complete(&self, path: &str, id: &str, parts: Vec<Part>) -> Result<(), Fault> {
        let data = CompleteMultipartUploadData { parts };
        let command = Command::CompleteMultipartUpload { upload_id: id, data };
        let said = self.ask(path, command, self.part_time()).await?;
        if said.contains("<Error>") {
            // The store begins its answer before it knows the outcome.
            return Err(S3Error::HttpFailWithBody(500, said).into());
        }
        Ok(())
    }

    /// How long one part may take.
    fn part_time(&self) -> std::time::Duration {
        transfer_time(self.timeout(), PART_BYTES)
    }
}

fn part<'a>(content: &'a [u8], content_type: &'a str, part: Multipart<'a>) -> Command<'a> {
    Command::PutObject { content, content_type, custom_headers: None, multipart: Some(part) }
}

/// The next part of a file; less than a whole one only at its end.
async fn next_part(file: &mut File) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    file.take(PART_BYTES).read_to_end(&mut bytes).await.map_err(Fault::Local)?;
    Ok(bytes)
}
