//! The configuration in force, kept on disk, so that a restart with a broken
//! file has a last good version, too.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use penstock_manifest::node::Entry;
use penstock_manifest::{Listing, Map, Node, Resource, Value, yaml};

/// Where the last good set of a configuration directory is kept.
pub struct LastGood {
    path: PathBuf,
}

impl LastGood {
    /// The file below a configuration directory.
    pub fn of(directory: &Path) -> Self {
        Self { path: directory.join(".penstock").join("last-good.yaml") }
    }

    /// What was in force when the last process wrote it; nothing where there
    /// is no such file or it cannot be read.
    pub fn load(&self) -> Listing {
        let Ok(text) = fs::read_to_string(&self.path) else {
            return Listing::default();
        };
        let resources = yaml::parse(&text)
            .into_iter()
            .filter_map(|document| restore(document.result.ok()?))
            .map(Arc::new)
            .collect();
        Listing { resources, ..Listing::default() }
    }

    /// Replaces the file as a whole. It holds what the manifests hold, so
    /// only the owner may read it.
    ///
    /// # Errors
    /// The directory cannot be written; the file stays as it was.
    pub fn store(&self, resources: &[Arc<Resource>]) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        // At a hand-over two processes may write at once.
        let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        let mut writer = io::BufWriter::new(&mut file);
        for resource in resources {
            writer.write_all(b"---\n")?;
            writer.write_all(yaml::render(&describe(resource)).as_bytes())?;
        }
        writer.flush()?;
        drop(writer);
        file.sync_all()?;
        fs::rename(&temporary, &self.path)
    }
}

fn text(value: &str) -> Node {
    Node::synthetic(Value::String(value.into()))
}

/// A resource with what its document does not say: its file and its key.
fn describe(resource: &Resource) -> Node {
    let entry = |key: &str, node: Node| Entry { key: key.into(), key_at: node.at, node };
    Node::synthetic(Value::Map(Map {
        entries: vec![
            entry("file", text(&resource.source.file)),
            entry("document", text(&resource.source.document.to_string())),
            entry("kind", text(&resource.key.kind)),
            entry("namespace", text(&resource.key.namespace)),
            entry("name", text(&resource.key.name)),
            entry("creationTimestamp", text(&resource.metadata.creation_timestamp)),
            entry("resourceVersion", text(&resource.metadata.resource_version)),
            entry("content", resource.root.clone()),
        ],
    }))
}

fn restore(node: Node) -> Option<Resource> {
    let field = |key: &str| node.get(key).and_then(Node::as_str);
    Some(Resource {
        key: penstock_manifest::ResourceKey::new(
            field("kind")?,
            field("namespace")?,
            field("name")?,
        ),
        source: penstock_manifest::Source {
            file: field("file")?.into(),
            document: field("document")?.parse().ok()?,
            at: penstock_manifest::Position::default(),
        },
        metadata: penstock_manifest::Metadata {
            creation_timestamp: field("creationTimestamp")?.into(),
            resource_version: field("resourceVersion")?.into(),
        },
        root: node.get("content")?.clone(),
        known: penstock_manifest::Known::default(),
    })
}
