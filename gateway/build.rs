//! Makes sure that the folders which are embedded exist: a build without the page is a gateway that says so at `GET /`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    for folder in ["../web/page/dist", "../pipelines"] {
        std::fs::create_dir_all(Path::new(folder))?;
        println!("cargo::rerun-if-changed={folder}");
    }
    Ok(())
}
