"""Template matching with OpenCV, in a process of its own that speaks TraX through vot-trax."""

import cv2
import numpy as np
import trax


def read(request):
    """The picture of a request, gray."""
    return cv2.imread(next(iter(request.image.values())).path(), cv2.IMREAD_GRAYSCALE)


def crop(image, x, y, w, h):
    """The part of a picture that a box shows, and its corner."""
    left, top = max(int(x), 0), max(int(y), 0)
    return image[top : max(int(y + h), top + 1), left : max(int(x + w), left + 1)], (left, top)


server = trax.Server(["rectangle"], ["path"], tracker_name="NCC")
while True:
    request = server.wait()
    if request.type == "quit":
        break
    image = read(request)
    if request.type == "initialize":
        x, y, w, h = request.objects[0][0].bounds()
        template, score = crop(image, x, y, w, h)[0], 1.0
    else:
        search, (left, top) = crop(image, x - w / 2, y - h / 2, 2 * w, 2 * h)
        if search.shape[0] >= template.shape[0] and search.shape[1] >= template.shape[1]:
            match = cv2.matchTemplate(search, template, cv2.TM_CCOEFF_NORMED)
            row, column = np.unravel_index(match.argmax(), match.shape)
            x, y, score = left + column, top + row, match.max()
    server.status([(trax.Rectangle.create(x, y, w, h), {"confidence": f"{score:.4f}"})])
server.quit()
