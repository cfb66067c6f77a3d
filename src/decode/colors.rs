//! Color matrix and range of a decoded picture.

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;

use super::raw_frame;

/// Color interpretation of a picture's samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colors {
    /// Luma coefficients of the matrix.
    pub matrix: Matrix,
    /// Whether samples use all values, as in `yuvj420p`.
    pub full_range: bool,
}

/// A matrix between R'G'B' and Y'CbCr (ITU-T H.273, MatrixCoefficients), given by two luma
/// coefficients. The coefficient of green is the remainder to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matrix {
    /// Luma coefficient of red.
    pub red: f64,
    /// Luma coefficient of blue.
    pub blue: f64,
    /// Number of the matrix in libswscale (`SWS_CS_…`).
    pub swscale: i32,
}

// Cast each constant: its type depends on the version of FFmpeg.
#[allow(clippy::unnecessary_cast)]
impl Matrix {
    /// BT.601, the matrix of JFIF.
    pub const BT601: Matrix =
        Matrix { red: 0.299, blue: 0.114, swscale: ffi::SWS_CS_ITU601 as i32 };
    const BT709: Matrix = Matrix { red: 0.2126, blue: 0.0722, swscale: ffi::SWS_CS_ITU709 as i32 };
    const BT2020: Matrix = Matrix { red: 0.2627, blue: 0.0593, swscale: ffi::SWS_CS_BT2020 as i32 };
    const FCC: Matrix = Matrix { red: 0.30, blue: 0.11, swscale: ffi::SWS_CS_FCC as i32 };
    const SMPTE240M: Matrix =
        Matrix { red: 0.212, blue: 0.087, swscale: ffi::SWS_CS_SMPTE240M as i32 };
}

impl Colors {
    /// Returns the colors of `frame`. An untagged picture is BT.709 if it is HD and BT.601
    /// otherwise, as mpv guesses (`mp_csp_guess_colorspace`).
    pub fn of(frame: &ffmpeg::frame::Video, pixel_format: &str) -> Self {
        use ffi::AVColorSpace as Space;
        const BT709: i32 = Space::AVCOL_SPC_BT709 as i32;
        const BT2020_NCL: i32 = Space::AVCOL_SPC_BT2020_NCL as i32;
        const BT2020_CL: i32 = Space::AVCOL_SPC_BT2020_CL as i32;
        const FCC: i32 = Space::AVCOL_SPC_FCC as i32;
        const SMPTE240M: i32 = Space::AVCOL_SPC_SMPTE240M as i32;
        const BT470BG: i32 = Space::AVCOL_SPC_BT470BG as i32;
        const SMPTE170M: i32 = Space::AVCOL_SPC_SMPTE170M as i32;
        let hd = frame.width() >= 1280 || frame.height() > 576;
        let matrix = match raw_frame::color_space(frame) {
            BT709 => Matrix::BT709,
            BT2020_NCL | BT2020_CL => Matrix::BT2020,
            FCC => Matrix::FCC,
            SMPTE240M => Matrix::SMPTE240M,
            BT470BG | SMPTE170M => Matrix::BT601,
            // An untagged picture, or a matrix added in a later FFmpeg.
            _ if hd => Matrix::BT709,
            _ => Matrix::BT601,
        };
        let full_range = raw_frame::is_full_range(frame) || pixel_format.starts_with("yuvj");
        Colors { matrix, full_range }
    }
}
