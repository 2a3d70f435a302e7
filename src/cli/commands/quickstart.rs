//! stub
#[derive(Debug, clap::Args)]
pub(crate) struct QuickstartArgs {}
pub(crate) async fn run(
    _: &mut crate::cli::context::Context,
    _: &QuickstartArgs,
) -> crate::cli::error::CommandResult {
    Ok(crate::cli::exit_code::ExitCode::Done)
}
