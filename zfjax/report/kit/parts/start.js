// ---- last of all: the strips as they then are, the address, the first picture

draws.push(() => document.querySelectorAll(".strip").forEach(markFrames), remember);
recall();
