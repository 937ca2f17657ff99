#version 330 core
// SPDX-License-Identifier: Apache-2.0
// A tensor as an image. Integers arrive as integers (R32I) and become real numbers here, with the scale of their channel.

uniform isampler2D integers;  // [rows, cols], GL_R32I
uniform sampler2D floats;     // [rows, cols], GL_R32F
uniform sampler2D scales;     // [1, cols], GL_R32F: real = scale * integer
uniform sampler2D colours;    // [1, 256], the colour map

uniform int what;       // 0 integer, 1 float, 2 integer - float
uniform int layout_;    // 0 rows x cols, 1 a column's patches as a picture, 2 a row's patches as a picture
uniform int side;       // patches: side of the square
uniform int first;      // patches: index of the first patch
uniform int fixed_;     // patches: the column (1) or the row (2) shown
uniform ivec2 size;     // of the image: columns, rows as laid out
uniform vec2 origin;    // of the image in framebuffer pixels, from the top left
uniform vec2 cell;      // size of a cell in framebuffer pixels
uniform float height;   // of the framebuffer
uniform vec2 range_;    // the values at the two ends of the colour map
uniform vec4 background;
uniform vec4 line;      // colour of the lines between cells, when they are large

out vec4 colour;

float value_at(ivec2 at) {
    ivec2 texel = at;
    if (layout_ == 1) texel = ivec2(fixed_, at.y * side + at.x + first);
    if (layout_ == 2) texel = ivec2(at.y * side + at.x + first, fixed_);
    float q = 0.0, f = 0.0;
    if (what != 1) q = float(texelFetch(integers, texel, 0).r) * texelFetch(scales, ivec2(texel.x, 0), 0).r;
    if (what != 0) f = texelFetch(floats, texel, 0).r;
    return what == 0 ? q : what == 1 ? f : q - f;
}

void main() {
    vec2 position = vec2(gl_FragCoord.x, height - gl_FragCoord.y) - origin;
    vec2 place = position / cell;
    ivec2 at = ivec2(floor(place));
    if (any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, size))) {
        colour = background;
        return;
    }
    // Several values under one pixel: the one furthest from the middle of the colours, so that no outlier is lost.
    float middle = 0.5 * (range_.x + range_.y);
    if (range_.x >= 0.0) middle = range_.x;
    ivec2 span = clamp(ivec2(ceil(1.0 / cell)), ivec2(1), ivec2(8));
    float v = value_at(at);
    for (int y = 0; y < span.y; ++y) {
        for (int x = 0; x < span.x; ++x) {
            float other = value_at(min(at + ivec2(x, y), size - 1));
            if (abs(other - middle) > abs(v - middle)) v = other;
        }
    }
    float t = clamp((v - range_.x) / max(range_.y - range_.x, 1e-30), 0.0, 1.0);
    colour = texture(colours, vec2((t * 255.0 + 0.5) / 256.0, 0.5));
    if (min(cell.x, cell.y) > 18.0) {
        vec2 inside = fract(place) * cell;
        if (inside.x < 1.0 || inside.y < 1.0) colour = mix(colour, line, 0.35);
    }
}
