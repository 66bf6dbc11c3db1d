//! Manifests (OCI Image Specification 1.1, "Image Manifest"), and which of them hold a component.

use serde::Deserialize;

use super::is_digest;

/// The types that a registry may answer with; those that hold no component are asked for to be refused by their names.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The type of a component and of a module.
const WASM: &str = "application/wasm";
/// The configuration of the CNCF's Wasm OCI artifact layout.
const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    /// Only in an index.
    manifests: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

/// Where a component is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// `sha256:` and 64 hexadecimal digits.
    pub(super) digest: String,
    /// Bytes.
    pub(super) size: u64,
}

/// The layer with the component: in an artifact with the Wasm configuration the only one of the type `application/wasm`, in any other
/// the only one at all, of the same type.
pub(super) fn component_layer(manifest: &[u8]) -> Result<Layer, String> {
    let manifest: Manifest = serde_json::from_slice(manifest).map_err(|error| format!("its manifest can't be read: {error}"))?;
    if manifest.schema_version != 2 {
        return Err(format!("its manifest has the schema version {} and not 2", manifest.schema_version));
    }
    if manifest.manifests.is_some() {
        return Err("it is an index of several manifests: name one of them by its digest".to_owned());
    }
    let (Some(config), Some(layers)) = (manifest.config, manifest.layers) else {
        let kind = manifest.media_type.map_or("of no type".to_owned(), |kind| format!("of the type {}", shown(&kind)));
        return Err(format!("its manifest, {kind}, has no config or no layers"));
    };
    let wasm_artifact = config.media_type == WASM_CONFIG;
    let mut components = layers.iter().filter(|layer| layer.media_type == WASM);
    let layer = match (components.next(), components.next()) {
        (Some(layer), None) if wasm_artifact || layers.len() == 1 => layer,
        (Some(_), Some(_)) => return Err("it has several layers of the type application/wasm".to_owned()),
        _ => {
            let types: Vec<String> = layers.iter().take(4).map(|layer| shown(&layer.media_type)).collect();
            let types = if types.is_empty() { "none".to_owned() } else { types.join(", ") };
            return Err(format!(
                "its {} layers are of the types {types}, its config of {}",
                layers.len(),
                shown(&config.media_type)
            ));
        }
    };
    if !is_digest(&layer.digest) {
        return Err(format!("the digest of its layer, {}, is none of SHA-256", shown(&layer.digest)));
    }
    Ok(Layer { digest: layer.digest.clone(), size: layer.size })
}

/// The beginning of a text from a registry, quoted.
fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(100).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const EMPTY: &str = "application/vnd.oci.empty.v1+json";

    fn manifest(config: &str, layers: &[&str]) -> Value {
        let descriptor = |kind: &&str| json!({"mediaType": kind, "digest": DIGEST, "size": 7});
        json!({"schemaVersion": 2, "config": descriptor(&config), "layers": layers.iter().map(descriptor).collect::<Vec<_>>()})
    }

    fn found(manifest: &Value) -> Result<Layer, String> {
        component_layer(manifest.to_string().as_bytes())
    }

    #[test]
    fn components_are_found_by_the_types() {
        let layer = Layer { digest: DIGEST.into(), size: 7 };
        assert_eq!(found(&manifest(WASM_CONFIG, &[WASM])).unwrap(), layer);
        assert_eq!(found(&manifest(EMPTY, &[WASM])).unwrap(), layer);
        assert_eq!(found(&manifest(WASM_CONFIG, &[WASM, "text/plain"])).unwrap(), layer);
    }

    #[test]
    fn everything_else_is_refused_with_what_it_is() {
        let refused = |manifest: Value| found(&manifest).unwrap_err();
        assert!(refused(manifest(EMPTY, &[WASM, "text/plain"])).contains("text/plain"));
        assert!(refused(manifest(WASM_CONFIG, &[WASM, WASM])).contains("several layers"));
        assert!(refused(manifest(WASM_CONFIG, &[])).contains("none"));
        let tar = "application/vnd.oci.image.layer.v1.tar+gzip";
        assert!(refused(manifest("application/vnd.oci.image.config.v1+json", &[tar])).contains(tar));
        assert!(refused(json!({"schemaVersion": 2, "manifests": []})).contains("index"));
        assert!(refused(json!({"schemaVersion": 1})).contains("schema version 1"));
        assert!(refused(json!({"schemaVersion": 2})).contains("no config"));
        assert!(refused(json!([])).contains("can't be read"));
        let mut odd = manifest(WASM_CONFIG, &[WASM]);
        odd["layers"][0]["digest"] = "sha512:00".into();
        assert!(refused(odd.clone()).contains("SHA-256"));
        odd["layers"][0]["size"] = json!(-1);
        assert!(refused(odd).contains("can't be read"));
        assert!(component_layer(&b"[".repeat(100_000)).is_err());
    }
}
