//! Embeds `web-client/dist`, if it was built, as a table of files.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    fs,
    hash::{DefaultHasher, Hasher},
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web-client/dist");
    // The directory is watched; one that does not exist would make every build start anew.
    // Where it cannot be made, nothing will be built into it either.
    let is_watchable = fs::create_dir_all(&dist).is_ok();
    let mut files = BTreeMap::new();
    if is_watchable {
        collect(&dist, &dist, &mut files)?;
    }
    fs::write(out_dir()?.join("web_assets.rs"), table(&files)?)?;
    watch(is_watchable.then_some(&*dist));
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is how Cargo tells a build script its place"
)]
fn out_dir() -> Result<PathBuf, Box<dyn Error>> {
    Ok(std::env::var_os("OUT_DIR")
        .ok_or("OUT_DIR is not set")?
        .into())
}

fn watch(dist: Option<&Path>) {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(dist) = dist {
        println!("cargo::rerun-if-changed={}", dist.display());
    }
}

fn collect(
    root: &Path,
    directory: &Path,
    files: &mut BTreeMap<String, PathBuf>,
) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else {
            let name = path
                .strip_prefix(root)?
                .to_string_lossy()
                .replace('\\', "/");
            files.insert(name, path.canonicalize()?);
        }
    }
    Ok(())
}

fn table(files: &BTreeMap<String, PathBuf>) -> Result<String, Box<dyn Error>> {
    let mut text = String::from("static ASSETS: &[Asset] = &[\n");
    for (name, path) in files {
        let is_twin = [".br", ".gz"].iter().any(|end| {
            name.strip_suffix(end)
                .is_some_and(|plain| files.contains_key(plain))
        });
        if is_twin {
            continue;
        }
        let twin = |end| match files.get(&format!("{name}{end}")) {
            Some(path) => format!("Some(include_bytes!({path:?}))"),
            None => "None".to_owned(),
        };
        let mut hasher = DefaultHasher::new();
        hasher.write(&fs::read(path)?);
        writeln!(
            text,
            "Asset {{ path: {name:?}, content_type: {:?}, etag: \"\\\"{:016x}\\\"\", \
             plain: include_bytes!({path:?}), brotli: {}, gzip: {} }},",
            content_type(name),
            hasher.finish(),
            twin(".br"),
            twin(".gz"),
        )?;
    }
    text.push_str("];\n");
    Ok(text)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
