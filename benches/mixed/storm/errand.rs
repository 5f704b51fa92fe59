//! One thing a caller wants. The one rule: it says beforehand what may come of it, so that everything else is a surprise.

use http::Uri;
use rand::{RngExt, rngs::StdRng};

/// What is asked for, and what goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Get,
    Post,
    Upload,
    ChunkedUpload,
    BigUpload,
    Download,
    ChunkedDownload,
    BigDownload,
    /// The caller is gone within its body.
    CallerLeavesUpload,
    /// The caller is gone within the answer.
    CallerLeavesDownload,
    /// The marketplace breaks off within the request.
    MarketLeavesUpload,
    /// The marketplace breaks off within its answer.
    MarketLeavesDownload,
    MarketLeavesChunkedDownload,
}

use Kind::{
    BigDownload, BigUpload, CallerLeavesDownload, CallerLeavesUpload, ChunkedDownload, ChunkedUpload,
    Download, Get, MarketLeavesChunkedDownload, MarketLeavesDownload, MarketLeavesUpload, Post, Upload,
};

/// How often each occurs among all.
const SHARES: [(Kind, u32); 13] = [
    (Get, 30),
    (Post, 20),
    (Upload, 6),
    (ChunkedUpload, 6),
    (BigUpload, 2),
    (Download, 6),
    (ChunkedDownload, 6),
    (BigDownload, 2),
    (CallerLeavesUpload, 4),
    (CallerLeavesDownload, 5),
    (MarketLeavesUpload, 4),
    (MarketLeavesDownload, 5),
    (MarketLeavesChunkedDownload, 4),
];

const KIB: u64 = 1 << 10;

impl Kind {
    fn draw(dice: &mut StdRng) -> Self {
        let mut at = dice.random_range(0..SHARES.iter().map(|(_, share)| share).sum());
        let hit = |(_, share): &&(Kind, u32)| {
            let is_here = at < *share;
            at = at.saturating_sub(*share);
            is_here
        };
        SHARES.iter().find(hit).map_or(Get, |(kind, _)| *kind)
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Get => "GET",
            Post => "POST, up to 4 KiB",
            Upload => "upload, up to 512 KiB",
            ChunkedUpload => "upload in chunks, up to 512 KiB",
            BigUpload => "upload of 4 MiB",
            Download => "download, up to 512 KiB",
            ChunkedDownload => "download in chunks, up to 512 KiB",
            BigDownload => "download of 4 MiB",
            CallerLeavesUpload => "caller leaves within its upload",
            CallerLeavesDownload => "caller leaves within a download",
            MarketLeavesUpload => "marketplace breaks off within an upload",
            MarketLeavesDownload => "marketplace breaks off within a download",
            MarketLeavesChunkedDownload => "marketplace breaks off within a download in chunks",
        }
    }
}

/// An errand, the same for the caller who runs it and the marketplace that reads of it in the request's target.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) kind: Kind,
    pub(super) seller: String,
    /// Its own number: whatever arrives twice was sent twice.
    pub(super) number: u64,
    /// Bytes of the request's body.
    pub(super) upload: u64,
    /// Bytes of the answer's.
    pub(super) download: u64,
    /// After how many bytes somebody leaves.
    pub(super) breaks_at: Option<u64>,
}

impl Errand {
    pub(super) fn draw(dice: &mut StdRng, seller: &str, number: u64) -> Self {
        let kind = Kind::draw(dice);
        let mut upto = |most: u64| dice.random_range(1..=most);
        let (upload, download) = match kind {
            Get => (0, upto(4 * KIB)),
            Post => (upto(4 * KIB), upto(4 * KIB)),
            Upload | ChunkedUpload => (upto(512 * KIB), upto(KIB)),
            BigUpload => (4096 * KIB, upto(KIB)),
            Download | ChunkedDownload => (0, upto(512 * KIB)),
            BigDownload => (0, 4096 * KIB),
            CallerLeavesUpload | MarketLeavesUpload => (KIB + upto(256 * KIB), upto(KIB)),
            CallerLeavesDownload | MarketLeavesDownload | MarketLeavesChunkedDownload => {
                (0, KIB + upto(512 * KIB))
            }
        };
        let breaks_at = match kind {
            CallerLeavesUpload | MarketLeavesUpload => Some(upto(upload) - 1),
            CallerLeavesDownload | MarketLeavesDownload | MarketLeavesChunkedDownload => {
                Some(upto(download) - 1)
            }
            _ => None,
        };
        Self { kind, seller: seller.to_owned(), number, upload, download, breaks_at }
    }

    /// Whether the request says how long its body is.
    pub(super) fn tells_length(&self) -> bool {
        match self.kind {
            ChunkedUpload => false,
            CallerLeavesUpload => self.number.is_multiple_of(2),
            _ => true,
        }
    }

    /// Whether nobody is to leave.
    pub(super) fn is_untroubled(&self) -> bool {
        self.breaks_at.is_none()
    }

    pub(super) fn is_by_caller(&self) -> bool {
        matches!(self.kind, CallerLeavesUpload | CallerLeavesDownload)
    }

    /// What the marketplace is to do, in a query.
    pub(super) fn target(&self, app: &str) -> String {
        let Self { seller, number, upload, download, .. } = self;
        let framing = match self.kind {
            ChunkedDownload | MarketLeavesChunkedDownload => "chunks",
            _ => "length",
        };
        let (reads, writes) = match (self.kind, self.breaks_at) {
            (MarketLeavesUpload, Some(at)) => (at.to_string(), String::new()),
            (MarketLeavesDownload | MarketLeavesChunkedDownload, Some(at)) => (String::new(), at.to_string()),
            _ => Default::default(),
        };
        format!(
            "/{app}/v1/errands?asked={seller}&number={number}&upload={upload}&download={download}&framing={framing}\
             &reads={reads}&writes={writes}"
        )
    }
}

/// What the marketplace reads of an errand.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) asked: String,
    pub(super) number: u64,
    pub(super) upload: u64,
    pub(super) download: u64,
    pub(super) in_chunks: bool,
    /// Breaks off after it has read so much.
    pub(super) reads: Option<u64>,
    /// Breaks off after it has written so much.
    pub(super) writes: Option<u64>,
}

impl Order {
    pub(super) fn read(target: &Uri) -> Option<Self> {
        let query = target.query()?;
        let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        Some(Self {
            asked: value("asked")?.to_owned(),
            number: value("number")?.parse().ok()?,
            upload: value("upload")?.parse().ok()?,
            download: value("download")?.parse().ok()?,
            in_chunks: value("framing")? == "chunks",
            reads: value("reads")?.parse().ok(),
            writes: value("writes")?.parse().ok(),
        })
    }
}
